//! Secrets, read when they are needed.

use std::io::Read;
use std::path::Path;

use crate::config::{SECRET_BYTES_MAX, Secret};

/// The secret as one line.
///
/// # Errors
/// Its file cannot be read, or holds none; in words, with the file's name.
pub async fn read(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::Given(text) => Ok(text.clone()),
        Secret::File(path) => {
            let path = path.clone();
            smol::unblock(move || from_file(&path).map_err(|why| format!("{}: {why}", path.display()))).await
        }
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    // Opening a pipe would wait for its other end.
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("is no file".to_owned());
    }
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let line = text.trim();
    match line.is_empty() || line.chars().any(char::is_control) {
        true => Err("does not hold one line".to_owned()),
        false => Ok(line.to_owned()),
    }
}
