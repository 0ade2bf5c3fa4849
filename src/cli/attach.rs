//! The files of `tautline publish --attach`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::client::Form;
use super::output::say;
use super::{Exit, Failure};
use crate::alert::hygiene;

/// All files of one alert: the relay takes no larger form. Also what is read of a pipe that does not end.
const FILES_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Characters of a file's name.
const NAME_CHARS_MAX: usize = 128;

/// A file as it was read.
pub(super) struct Attached {
    pub name: String,
    bytes: Vec<u8>,
}

/// Reads the files, `-` from standard input. One that cannot be read is left out, said so, and named to whoever reads
/// the alert: its text is worth more.
pub(super) fn read(paths: &[PathBuf]) -> Result<(Vec<Attached>, Vec<String>), Failure> {
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Failure::new(Exit::Usage, "standard input can be attached once"));
    }
    let (mut files, mut left_out) = (Vec::new(), Vec::new());
    let mut room = FILES_MAX_BYTES;
    for path in paths {
        match read_one(path, room) {
            Ok(file) => {
                room -= file.bytes.len() as u64;
                files.push(file);
            }
            Err(why) => {
                say(format_args!(
                    "tautline: warning: {} was left out: {why}",
                    path.display()
                ));
                left_out.push(name_of(path));
            }
        }
    }
    Ok((files, left_out))
}

/// Whether it stands for standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn read_one(path: &Path, room: u64) -> Result<Attached, String> {
    let mut bytes = Vec::new();
    let read = match is_stdin(path) {
        true => std::io::stdin().lock().take(room + 1).read_to_end(&mut bytes),
        false => File::open(path).and_then(|file| file.take(room + 1).read_to_end(&mut bytes)),
    };
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > room {
        return Err(format!(
            "all files together are larger than {}",
            hygiene::size(FILES_MAX_BYTES)
        ));
    }
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Attached {
        name: name_of(path),
        bytes,
    })
}

/// Without its directory: where it lies on this box is nobody's business who reads the alert. A pipe has no name.
fn name_of(path: &Path) -> String {
    let piped = is_stdin(path) || path.starts_with("/dev") || path.starts_with("/proc");
    let name = path.file_name().filter(|_| !piped);
    let name = name.map(|name| name.to_string_lossy().replace(['"', '\r', '\n'], "_"));
    hygiene::shortened(&name.unwrap_or_default(), NAME_CHARS_MAX).0
}

/// The text and the files, as the relay takes them.
pub(super) fn form(text: &[u8], files: &[Attached]) -> Form {
    let mut boundary = "tautline".to_owned();
    let holds = |boundary: &str| {
        let wanted = boundary.as_bytes();
        let contents = files.iter().map(|file| file.bytes.as_slice()).chain([text]);
        contents
            .into_iter()
            .any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    };
    while holds(&boundary) {
        boundary.push_str(&format!("{:016x}", fastrand::u64(..)));
    }
    let mut body = Vec::new();
    let mut part = |disposition: &str, content: &[u8]| {
        body.extend(format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"message\"", text);
    for file in files {
        part(&format!("name=\"file\"; filename=\"{}\"", file.name), &file.bytes);
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    Form { boundary, body }
}
