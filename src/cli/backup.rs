//! `tautline store backup` and `tautline store restore`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::client::{Client, lost, within};
use super::output::{print, print_json, say};
use super::store::failure;
use super::{Exit, Failure, Global, paths};
use crate::store::backup::{Backup, BackupError, Pending, of_directory};
use crate::store::last_time::wall_ms;

/// Longer than any backup is read into memory for.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// How long the relay may take for the next piece.
const PIECE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where to; `-` is standard output
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// What `store backup` has written; `-` is standard input
    file: PathBuf,
    /// Send what was waiting when the backup was made, instead of holding it: only if nothing ran on since
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
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if args.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            let text = "the backup is not for a terminal: redirect standard output, or name a file";
            return Err(Failure::new(Exit::Usage, text));
        }
        fetch(global, io::stdout().lock())?;
        return Ok(());
    }
    check_target(args)?;
    let half = Half::create(&args.file)?;
    fetch(global, &half.file)?;
    let failed = |error: io::Error| cannot(&args.file, "written", &error);
    half.file.sync_all().map_err(failed)?;
    // Read back before it gets its name: a backup that cannot be read is none.
    let bytes = std::fs::read(&half.path).map_err(failed)?;
    let backup = Backup::read(&bytes).map_err(|error| {
        let text = format!("the backup does not read back as it was written: {error}");
        Failure::new(Exit::Failed, text)
    })?;
    check_target(args)?;
    half.rename(&args.file)?;
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

/// The file under its temporary name; removed unless it got its real one.
struct Half {
    path: PathBuf,
    file: File,
    whole: bool,
}

impl Half {
    fn create(target: &Path) -> Result<Self, Failure> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".{}.tmp", std::process::id()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| cannot(&path, "made", &error))?;
        Ok(Self {
            path,
            file,
            whole: false,
        })
    }

    fn rename(mut self, target: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| cannot(target, "written", &error);
        std::fs::rename(&self.path, target).map_err(failed)?;
        self.whole = true;
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = File::open(directory.unwrap_or(Path::new("."))).map_err(failed)?;
        directory.sync_all().map_err(failed)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if !self.whole {
            let _ = std::fs::remove_file(&self.path);
        }
    }
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
    let path = paths::state_directory(global)?;
    let made = of_directory(&path, out, wall_ms());
    made.map(drop).map_err(|error| {
        let failure = failure(error);
        // Who looks for a running relay and has no state here wants to know both.
        Failure::new(failure.exit, format!("{} ({})", failure.text, unreachable.text))
    })
}

async fn from_relay(client: &Client, out: &mut impl Write) -> Result<(), Failure> {
    let mut incoming = client.stream("GET", "/v1/backup").await?;
    while let Some(piece) = within(PIECE, async { incoming.piece().await.map_err(lost) }).await? {
        let written = out.write_all(&piece);
        written.map_err(|error| Failure::new(Exit::Failed, format!("the backup cannot be written: {error}")))?;
    }
    out.flush().map_err(Failure::from)
}

pub(super) fn restore(global: &Global, args: &RestoreArgs) -> Result<(), Failure> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let path = paths::state_directory(global)?;
    paths::refuse_anothers(&path)?;
    let bytes = read_file(&args.file)?;
    let refused = |error: BackupError| match error {
        BackupError::File(fault) => {
            let text = format!(
                "{} is not restored: {fault}; the state is as it was",
                args.file.display()
            );
            Failure::new(Exit::Failed, text)
        }
        BackupError::Refused(text) => Failure::new(Exit::Refused, text),
        BackupError::Store(error) => failure(error),
    };
    let backup = Backup::read(&bytes).map_err(refused)?;
    let summary = Summary::of(&args.file, bytes.len(), &backup);
    let pending = if args.send_pending {
        Pending::Send
    } else {
        Pending::Hold
    };
    backup.restore(&path, pending, wall_ms()).map_err(refused)?;
    if global.json {
        print_json(&summary)?;
    } else {
        print(format_args!("restored into {}: {}", path.display(), summary.words()))?;
    }
    say(format_args!(
        "Whatever ran on the state that this is a backup of must never run again: two copies of one linked device throw \
         each other out and lose messages."
    ));
    if summary.pending > 0 && !args.send_pending {
        say(format_args!(
            "{} alert(s) that waited are held, because they may have gone out since: see `tautline queue`, and \
             `tautline queue retry ID`",
            summary.pending
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
