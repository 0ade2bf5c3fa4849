#!/bin/sh
# Installs Tautline on a system without dpkg, and undoes it. As root, in the folder that the tarball made:
#
#   ./install.sh             installs or upgrades; what is in /etc/tautline and the state stay as they are
#   ./install.sh --remove    takes everything away but the configuration, the state and the spool
#   ./install.sh --purge     takes those away too, with the keys of the linked account
#
# With DESTDIR=FOLDER it puts the files there and starts nothing.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
# What was installed, one path a line, so that it can be taken away by a later version too.
list=$root/usr/share/tautline/installed
unit=tautline.service

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

say() {
    echo "install.sh: $*"
}

# Whether systemd runs here, and may be told something.
has_systemd() {
    [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null
}

install_files() {
    mkdir -p "$root/usr/share/tautline"
    (cd "$here/files" && find . -type f | sed 's|^\.||' | LC_ALL=C sort) >"$list.new"
    while read -r path; do
        target=$root$path
        mkdir -p "$(dirname "$target")"
        case "$path" in
        /etc/*)
            if [ -e "$target" ]; then
                cmp -s "$here/files$path" "$target" || cp "$here/files$path" "$target.new"
                continue
            fi
            ;;
        esac
        # Under its name once it is whole: the relay that runs keeps the program that it has.
        cp "$here/files$path" "$target.installing"
        # Whoever has unpacked it is not its owner any more: root would run what they can change.
        if [ -z "$root" ]; then
            chown 0:0 "$target.installing"
        fi
        case "$path" in
        /usr/bin/*) chmod 755 "$target.installing" ;;
        *) chmod 644 "$target.installing" ;;
        esac
        mv -f "$target.installing" "$target"
    done <"$list.new"
    # What an earlier version had brought and this one does not.
    if [ -e "$list" ]; then
        grep -vxFf "$list.new" "$list" | remove_files
    fi
    mv -f "$list.new" "$list"
}

# Removes the files on standard input, but no configuration, and the folders that are empty then.
remove_files() {
    while read -r path; do
        case "$path" in
        /etc/*) ;;
        *)
            rm -f "$root$path"
            (cd "$root/" && rmdir -p ".$(dirname "$path")" 2>/dev/null) || true
            ;;
        esac
    done
}

make_user_and_folders() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers tautline.conf
    elif ! id tautline >/dev/null 2>&1; then
        if command -v useradd >/dev/null; then
            useradd --system --user-group --no-create-home --home-dir /var/lib/tautline --shell /usr/sbin/nologin tautline
        else
            addgroup -S tautline
            adduser -S -D -H -h /var/lib/tautline -s /sbin/nologin -G tautline tautline
        fi
    fi
    if command -v systemd-tmpfiles >/dev/null; then
        systemd-tmpfiles --create tautline.conf
    else
        # As /usr/lib/tmpfiles.d/tautline.conf says.
        mkdir -p /etc/tautline /var/lib/tautline /var/spool/tautline
        chown root:tautline /etc/tautline
        chmod 0750 /etc/tautline
        chown tautline:tautline /var/lib/tautline /var/spool/tautline
        chmod 0700 /var/lib/tautline
        chmod 3733 /var/spool/tautline
    fi
}

start() {
    systemctl daemon-reload
    systemctl --quiet enable "$unit"
    if ! systemctl restart "$unit"; then
        journalctl --unit "$unit" --lines 5 --output cat --no-pager >&2 || true
        fail "the relay does not run; nothing of its state was changed. Above is what it says"
    fi
}

may_write_here() {
    [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "run this as root"
    if [ -z "$root" ] && command -v dpkg-query >/dev/null && dpkg-query -s tautline >/dev/null 2>&1; then
        fail "the Debian package tautline is there: use apt"
    fi
}

case "${1:-}" in
'')
    may_write_here
    [ -d "$here/files" ] || fail "$here/files is missing: unpack the whole tarball, and run its install.sh"
    "$here/files/usr/bin/tautline" --version >/dev/null 2>&1 || [ -n "$root" ] ||
        fail "this program does not run here: it is for another kind of machine, or for a later C library"
    before=
    [ ! -e "$list" ] || before=yes
    install_files
    if [ -z "$root" ]; then
        make_user_and_folders
    fi
    if has_systemd; then
        start
    fi
    say "installed $("$root/usr/bin/tautline" --version 2>/dev/null || echo tautline)"
    if [ -n "$before" ] || [ -n "$root" ]; then
        exit 0
    fi
    if has_systemd; then
        say "link an account with 'tautline pair', then name who gets the alerts in /etc/tautline/tautline.toml"
    else
        say "systemd does not run here: let your own init run, as the user tautline," \
            "'tautline --state /var/lib/tautline run', and link an account with 'tautline --state /var/lib/tautline pair'"
    fi
    ;;
--remove | --purge)
    may_write_here
    # What --remove has left can still be purged.
    [ -e "$list" ] || [ "$1" = --purge ] || fail "nothing to remove: $list is not there"
    if [ -e "$list" ]; then
        if has_systemd; then
            systemctl --quiet disable --now "$unit" || true
        fi
        remove_files <"$list"
        rm -f "$list"
        rmdir "$root/usr/share/tautline" 2>/dev/null || true
        if has_systemd; then
            systemctl daemon-reload
        fi
    fi
    if [ "$1" = --purge ]; then
        rm -rf "$root/var/lib/tautline" "$root/var/spool/tautline" "$root/etc/tautline"
        say "removed, with the state and the configuration; on the phone, remove the entry under Linked devices"
    else
        say "removed; /etc/tautline and /var/lib/tautline stay, with the keys of the linked account"
    fi
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
