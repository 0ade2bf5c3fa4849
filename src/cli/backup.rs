//! `tautline store backup` and `tautline store restore`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::Serialize;

use super::client::{Client, lost, within};
use super::output::{print, print_json, say};
use super::{Exit, Failure, Global, paths};
use crate::state::backup::{Backup, BackupError, Draft, Pending};
use crate::store::StoreError;
use crate::util::wall_ms;

/// Longer than any backup is read into memory for.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How long the relay may take for the next piece.
const PIECE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where to; `-` is standard output.
    file: PathBuf,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// What `store backup` has written; `-` is standard input.
    file: PathBuf,
    /// Send what was waiting when the backup was made, instead of holding it: only if nothing ran on since.
    #[arg(long)]
    send_pending: bool,
}

/// What `--json` prints of a backup.
#[derive(Serialize)]
struct Summary {
    file: String,
    bytes: u64,
    made_at: u64,
    sessions: Vec<String>,
    alerts: usize,
    pending: usize,
    messages: usize,
}

impl Summary {
    fn of(file: &Path, bytes: usize, backup: &Backup) -> Self {
        Self {
            file: file.display().to_string(),
            bytes: bytes as u64,
            made_at: backup.made_at_ms,
            sessions: backup.sessions.clone(),
            alerts: backup.alerts,
            pending: backup.pending,
            messages: backup.messages,
        }
    }

    fn words(&self) -> String {
        let sessions = match self.sessions.as_slice() {
            [] => "no linked session".to_owned(),
            [one] => format!("session {one}"),
            several => format!("sessions {}", several.join(", ")),
        };
        format!(
            "{}: {} bytes, {sessions}, {} alerts ({} waiting), {} messages",
            self.file, self.bytes, self.alerts, self.pending, self.messages
        )
    }
}

pub(super) fn execute(global: &Global, args: &BackupArgs) -> Result<(), Failure> {
    // The file holds keys: whatever is made on the way is the owner's alone.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    if args.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            let text = "the backup is not for a terminal: redirect standard output, or name a file";
            return Err(Failure::new(Exit::Usage, text));
        }
        fetch(global, io::stdout().lock())?;
        return Ok(());
    }
    paths::refuse_into_a_state(global, &args.file)?;
    check_target(args)?;
    let mut half = Half::create(&args.file)?;
    fetch(global, &half.file)?;
    let failed = |error: io::Error| cannot(&args.file, "written", &error);
    half.file.sync_all().map_err(failed)?;
    // Read back before it gets its name: a backup that cannot be read is none.
    let bytes = half.read().map_err(failed)?;
    let backup = Backup::read(&bytes).map_err(|error| {
        let text = format!("the backup does not read back as it was written: {error}");
        Failure::new(Exit::Failed, text)
    })?;
    check_target(args)?;
    half.name(&args.file, args.force).map_err(failed)?;
    let summary = Summary::of(&args.file, bytes.len(), &backup);
    if global.json {
        print_json(&summary)?;
    } else {
        print(summary.words())?;
    }
    say(format_args!(
        "It holds the keys of the linked device: who can read it can read and write as the account. Keep it secret."
    ));
    let mode = std::fs::metadata(&args.file).map_err(failed)?.mode();
    if mode & 0o077 != 0 {
        say(format_args!(
            "warning: the file system of {} knows no permissions, so others on this box may read it",
            args.file.display()
        ));
    }
    Ok(())
}

fn cannot(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} cannot be {what}: {error}", path.display()))
}

fn check_target(args: &BackupArgs) -> Result<(), Failure> {
    let path = &args.file;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(cannot(path, "written", &error)),
        Ok(there) if !there.is_file() => {
            let text = format!("{} is there and is no plain file: name another", path.display());
            Err(Failure::new(Exit::Refused, text))
        }
        Ok(_) if args.force => Ok(()),
        Ok(_) => {
            let text = format!("{} is there already: name another, or say --force", path.display());
            Err(Failure::new(Exit::Refused, text))
        }
    }
}

/// The file before it has its name: nameless, so that nothing is left of one that is not finished, or under a temporary
/// name where the file system knows no nameless ones.
struct Half {
    file: File,
    name: Option<PathBuf>,
}

impl Half {
    fn create(target: &Path) -> Result<Self, Failure> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        if let Ok(file) = rustix::fs::open(directory_of(target), flags, Mode::RUSR | Mode::WUSR) {
            let file = File::from(file);
            return Ok(Self { file, name: None });
        }
        let name = temporary_name(target);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&name);
        let file = file.map_err(|error| cannot(target, "made", &error))?;
        Ok(Self { file, name: Some(name) })
    }

    /// All of it, from the start.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Gives it its name. `replace` what is there; without that nothing is replaced even if it has come meanwhile,
    /// where there are nameless files.
    fn name(mut self, target: &Path, replace: bool) -> io::Result<()> {
        if self.name.is_none() {
            let name = if replace {
                temporary_name(target)
            } else {
                target.to_owned()
            };
            let nameless = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, nameless, CWD, &name, AtFlags::SYMLINK_FOLLOW)?;
            self.name = replace.then_some(name);
        }
        if let Some(name) = &self.name {
            std::fs::rename(name, target)?;
            self.name = None;
        }
        File::open(directory_of(target))?.sync_all()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = std::fs::remove_file(name);
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn temporary_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    name.into()
}

/// Writes a backup into `out`: the running relay's, or else that of the state on disk.
fn fetch(global: &Global, mut out: impl Write) -> Result<(), Failure> {
    let relay = smol::block_on(async {
        match Client::find(global).await {
            Ok(client) => from_relay(&client, &mut out).await.map(|()| None),
            Err(failure) if failure.exit == Exit::Unreachable => Ok(Some(failure)),
            Err(failure) => Err(failure),
        }
    })?;
    let Some(unreachable) = relay else { return Ok(()) };
    let draft = Draft::read(&paths::state_directory(global)?, wall_ms()).map_err(|error| {
        // Who looks for a running relay and gets at no state here wants to know both.
        let both = matches!(error, StoreError::Open { .. } | StoreError::Locked(_));
        let failure = Failure::of_store(error);
        match both {
            true => Failure::new(failure.exit, format!("{} ({})", failure.text, unreachable.text)),
            false => failure,
        }
    })?;
    draft.write(BufWriter::new(out)).map_err(unwritable)
}

fn unwritable(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the backup cannot be written: {error}"))
}

async fn from_relay(client: &Client, out: &mut impl Write) -> Result<(), Failure> {
    let mut incoming = client.stream("GET", "/v1/backup").await?;
    while let Some(piece) = within(PIECE, async { incoming.piece().await.map_err(lost) }).await? {
        out.write_all(&piece).map_err(unwritable)?;
    }
    out.flush().map_err(unwritable)
}

pub(super) fn restore(global: &Global, args: &RestoreArgs) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let path = paths::state_directory(global)?;
    paths::refuse_anothers(&path)?;
    let bytes = read_file(&args.file)?;
    let refused = |error: BackupError| match error {
        BackupError::File(fault) => {
            let name = match args.file.as_os_str() == "-" {
                true => "standard input".to_owned(),
                false => args.file.display().to_string(),
            };
            let text = format!("{name} is not restored: {fault}; the state is as it was");
            Failure::new(Exit::Failed, text)
        }
        BackupError::Refused(text) => Failure::new(Exit::Refused, text),
        BackupError::Store(error) => Failure::of_store(error),
    };
    let backup = Backup::read(&bytes).map_err(refused)?;
    let summary = Summary::of(&args.file, bytes.len(), &backup);
    let pending = if args.send_pending {
        Pending::Send
    } else {
        Pending::Hold
    };
    let held = backup.restore(&path, pending, wall_ms()).map_err(refused)?;
    if global.json {
        print_json(&summary)?;
    } else {
        print(format_args!("restored into {}: {}", path.display(), summary.words()))?;
    }
    say(format_args!(
        "Whatever ran on the state that this is a backup of must never run again: two copies of one linked device throw \
         each other out and lose messages."
    ));
    if held > 0 {
        say(format_args!(
            "{held} alert(s) that waited are held, because they may have gone out since: see `tautline queue`, and \
             `tautline queue retry ID`"
        ));
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| cannot(path, "read", &error);
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    input.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let text = format!("{} is larger than any backup that can be read", path.display());
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(bytes)
}
