//! What kind of host this is, read from the files in which Linux says so.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::board::Board;

/// The board that holds: the configured one, else the detected one; and why, as a line for people. `root` is `/` but in
/// tests.
pub fn board_in_force(configured: Option<&str>, root: &Path) -> (&'static Board, String) {
    match configured.and_then(Board::named) {
        Some(board) => (board, format!("{} is named in the configuration", board.name)),
        None => detect(root),
    }
}

/// The board for this host, and why. Never fails: what is not known is `generic`.
pub fn detect(root: &Path) -> (&'static Board, String) {
    detect_on(root, std::env::consts::ARCH)
}

fn detect_on(root: &Path, arch: &str) -> (&'static Board, String) {
    let found = |name: &str, why: String| Board::named(name).map(|board| (board, why));
    wsl(root)
        .and_then(|why| found("wsl2", why))
        .or_else(|| raspberry(root).and_then(|(name, why)| found(name, why)))
        .or_else(|| mini_pc(root, arch).and_then(|why| found("x86-64-mini-pc", why)))
        .unwrap_or_else(|| (Board::generic(), "this host is none of the known ones".into()))
}

/// Microsoft's kernel says so in its release. A container on WSL2 shows the same kernel and has the same network.
fn wsl(root: &Path) -> Option<String> {
    let release = line(root, "proc/sys/kernel/osrelease").or_else(|| line(root, "proc/version"))?;
    release
        .to_ascii_lowercase()
        .contains("microsoft")
        .then(|| format!("the kernel is {release}"))
}

/// The firmware's device tree names the model, as `Raspberry Pi 4 Model B Rev 1.4`.
fn raspberry(root: &Path) -> Option<(&'static str, String)> {
    let model = line(root, "proc/device-tree/model").or_else(|| line(root, "sys/firmware/devicetree/base/model"))?;
    let name = model.strip_prefix("Raspberry Pi ")?;
    let name = name.strip_prefix("Compute Module ").unwrap_or(name);
    let is = |model: &str| {
        // `4` is `4`, `4S` and `400`, but never `40`.
        let rest = name.strip_prefix(model)?;
        let rest = rest.strip_prefix("00").unwrap_or(rest);
        (!rest.starts_with(|c: char| c.is_ascii_digit())).then_some(())
    };
    let board = if name.starts_with("Zero 2") {
        "rpi-zero-2w"
    } else if is("3").is_some() {
        "rpi-3"
    } else if is("4").is_some() {
        "rpi-4"
    } else if is("5").is_some() {
        "rpi-5"
    } else {
        return None;
    };
    Some((board, format!("the model is {model}")))
}

/// SMBIOS chassis types (DSP0134 7.4.1) of machines that stand on a desk or a shelf and stay plugged in: desktops,
/// towers, all-in-ones, space-saving, lunch box, sealed-case, mini and stick PCs. Laptops and servers are not among
/// them.
const CHASSIS_DESK: &[&str] = &["3", "4", "5", "6", "7", "13", "15", "16", "24", "35", "36"];

/// Makers and products of virtual machines, which often claim to be desktops.
const VIRTUAL: &[&str] = &[
    "qemu",
    "kvm",
    "vmware",
    "virtual",
    "xen",
    "innotek",
    "bochs",
    "parallels",
    "bhyve",
    "cloud",
];

fn mini_pc(root: &Path, arch: &str) -> Option<String> {
    if arch != "x86_64" {
        return None;
    }
    let vendor = line(root, "sys/class/dmi/id/sys_vendor").unwrap_or_default();
    let product = line(root, "sys/class/dmi/id/product_name").unwrap_or_default();
    let names = format!("{vendor} {product}").to_ascii_lowercase();
    let chassis = line(root, "sys/class/dmi/id/chassis_type")?;
    if VIRTUAL.iter().any(|word| names.contains(word)) || !CHASSIS_DESK.contains(&chassis.as_str()) {
        return None;
    }
    Some(format!("the machine is {vendor} {product}, chassis type {chassis}"))
}

/// The first line of a small file of the system, without the NUL that ends a device tree's strings and with nothing in
/// it that could upset a terminal.
fn line(root: &Path, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(root.join(path))
        .ok()?
        .take(1024)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.split(['\n', '\0']).next()?.trim();
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(arch: &str, files: &[(&str, &str)]) -> (&'static str, String) {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (board, why) = detect_on(root.path(), arch);
        (board.name, why)
    }

    #[test]
    fn raspberries_by_their_device_tree() {
        for (model, board) in [
            ("Raspberry Pi Zero 2 W Rev 1.0\0", "rpi-zero-2w"),
            ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "rpi-3"),
            ("Raspberry Pi Compute Module 3 Plus Rev 1.0\0", "rpi-3"),
            ("Raspberry Pi 4 Model B Rev 1.4\0", "rpi-4"),
            ("Raspberry Pi 400 Rev 1.0\0", "rpi-4"),
            ("Raspberry Pi Compute Module 4S Rev 1.0\0", "rpi-4"),
            ("Raspberry Pi 5 Model B Rev 1.0\0", "rpi-5"),
            ("Raspberry Pi 500 Rev 1.0\0", "rpi-5"),
            ("Raspberry Pi Model B Rev 2\0", "generic"),
            ("Raspberry Pi 50 Rev 1.0\0", "generic"),
            ("Raspberry Pi Zero W Rev 1.1\0", "generic"),
            ("Radxa ROCK 4\0", "generic"),
        ] {
            let (name, why) = detected("aarch64", &[("proc/device-tree/model", model)]);
            assert_eq!(name, board, "{model}");
            assert!(!why.contains('\0') && (board == "generic" || why.contains(model.trim_end_matches('\0'))));
        }
    }

    #[test]
    fn wsl_by_its_kernel_before_anything_else() {
        let desk = ("sys/class/dmi/id/chassis_type", "3\n");
        let release = ("proc/sys/kernel/osrelease", "5.15.167.4-microsoft-standard-WSL2\n");
        assert_eq!(detected("x86_64", &[desk, release]).0, "wsl2");
        let version = (
            "proc/version",
            "Linux version 6.6.87.2-microsoft-standard-WSL2 (root@x)\n",
        );
        assert_eq!(detected("aarch64", &[version]).0, "wsl2");
        assert_eq!(
            detected("x86_64", &[("proc/sys/kernel/osrelease", "6.1.0-13-amd64\n")]).0,
            "generic"
        );
    }

    #[test]
    fn a_mini_pc_by_its_chassis() {
        let on = |arch: &str, chassis: &str, vendor: &str| {
            let files = [
                ("sys/class/dmi/id/chassis_type", chassis),
                ("sys/class/dmi/id/sys_vendor", vendor),
                ("sys/class/dmi/id/product_name", "NUC11ATKC4\n"),
            ];
            detected(arch, &files)
        };
        let (name, why) = on("x86_64", "35\n", "Intel(R) Client Systems\n");
        assert_eq!(name, "x86-64-mini-pc");
        assert!(why.contains("NUC11ATKC4") && why.contains("35"), "{why}");
        assert_eq!(on("x86_64", "10\n", "LENOVO\n").0, "generic", "a laptop");
        assert_eq!(on("x86_64", "3\n", "QEMU\n").0, "generic", "a virtual machine");
        assert_eq!(on("aarch64", "3\n", "Ampere\n").0, "generic");
    }

    #[test]
    fn an_empty_system_is_generic_and_the_config_comes_first() {
        assert_eq!(detected("x86_64", &[]).0, "generic");
        let root = tempfile::tempdir().unwrap();
        let (board, why) = board_in_force(Some("rpi-5"), root.path());
        assert!(board.name == "rpi-5" && why.contains("configuration"));
        assert_eq!(board_in_force(None, root.path()).0.name, "generic");
    }
}
