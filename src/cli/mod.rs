//! The commands, one file each. All but `run`, `boards` and `config` talk to the running relay over its control socket.
//!
//! Results go to stdout, words to stderr; `--json` makes the results JSON. A reader that closes the pipe early is no
//! error.

mod attach;
mod backup;
pub mod boards;
mod chats;
mod client;
mod completions;
pub mod config;
mod doctor;
mod exit;
mod global;
mod import;
mod logging;
mod man;
mod outlet;
mod output;
mod pair;
pub mod paths;
mod publish;
mod queue;
mod routes;
mod run;
mod screen;
mod sendmail;
mod spool;
mod status;
mod store;
mod terminal;
mod token;
mod words;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};
pub use global::Global;

use crate::config::Env;

/// Delivers alerts from software on this box over WhatsApp, and holds the line for months.
///
/// Without a command it runs the relay in the foreground. Tautline is an unofficial client: WhatsApp's terms do not
/// welcome such, and a number of its own is wise.
#[derive(Debug, Parser)]
#[command(name = "tautline", version, max_term_width = 100, after_help = AFTER, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER: &str = "Exit codes: 0 done; 1 failed; 2 usage; 3 relay not reachable; 4 refused; 5 not paired; \
                     6 --wait ran out; 7 state in use by another process; 78 bad configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay in the foreground (also without a command).
    Run,
    /// Link a WhatsApp account by QR code or by number.
    Pair(pair::PairArgs),
    /// Hand an alert to the running relay.
    Publish(publish::PublishArgs),
    /// Take a mail on standard input, as sendmail does; also where the program is called as sendmail.
    Sendmail(sendmail::SendmailArgs),
    /// Show sessions, layers, deadlines, outbox counts and health.
    Status(status::StatusArgs),
    /// Look at everything that can be wrong, with the next step for each.
    Doctor(doctor::DoctorArgs),
    /// Show and handle the alerts in the outbox.
    Queue(queue::QueueArgs),
    /// List groups and contacts, to find what goes into a route.
    Chats(chats::ChatsArgs),
    /// Show the routes and what each does; test one.
    Routes(routes::RoutesArgs),
    /// Say who may publish, read and administer: make, list and revoke tokens.
    Token {
        #[command(subcommand)]
        command: token::TokenCommand,
    },
    /// Look after the state.
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// List the boards, or show one with the reason of every number.
    Boards {
        #[command(subcommand)]
        command: Option<BoardsCommand>,
    },
    /// Check or print the configuration.
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

#[derive(Debug, Subcommand)]
enum BoardsCommand {
    /// Show every number of a board with its reason.
    Show {
        /// A name from `tautline boards`.
        name: String,
    },
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(words::marked::<Cli>(words::as_sendmail::<Cli>(std::env::args_os()))) {
        Ok(cli) => cli,
        Err(error) => return said_by_clap(&error),
    };
    logging::start(cli.global.verbose, matches!(cli.command, None | Some(Command::Run)));
    let global = &cli.global;
    let outcome = match cli.command {
        None | Some(Command::Run) => run::execute(global),
        Some(Command::Boards { command }) => {
            let name = command.map(|BoardsCommand::Show { name }| name);
            return written(|out, err| match &name {
                Some(name) => boards::show(name, global.json, out, err),
                None => boards::list(
                    global.config.as_deref(),
                    &Env::process(),
                    Path::new("/"),
                    global.json,
                    out,
                    err,
                ),
            });
        }
        Some(Command::Config { command }) => {
            let (file, env) = (global.config.as_deref(), Env::process());
            return written(|out, err| match command {
                config::ConfigCommand::Check => config::check(file, &env, global.json, out, err),
                config::ConfigCommand::Print => config::print(file, &env, global.json, out, err),
            });
        }
        Some(Command::Pair(args)) => pair::execute(global, &args),
        Some(Command::Publish(args)) => publish::execute(global, args),
        Some(Command::Sendmail(args)) => return sendmail::execute(global, &args),
        Some(Command::Status(args)) => status::execute(global, &args),
        Some(Command::Doctor(args)) => doctor::execute(global, &args),
        Some(Command::Queue(args)) => queue::execute(global, args),
        Some(Command::Chats(args)) => chats::execute(global, &args),
        Some(Command::Routes(args)) => routes::execute(global, args),
        Some(Command::Token { command }) => token::execute(global, command),
        Some(Command::Store { command }) => store::execute(global, command),
        Some(Command::Completions { shell }) => completions::execute(shell, Cli::command()),
        Some(Command::Man) => man::execute(Cli::command()),
    };
    finish(outcome)
}

/// Prints clap's own words; the code is 2, or 0 for --help and --version.
fn said_by_clap(error: &clap::Error) -> ExitCode {
    let words = error.render();
    let fancy = if error.use_stderr() {
        io::stderr().is_terminal()
    } else {
        terminal::is_fancy()
    };
    let words = words::without_mark(&if fancy {
        words.ansi().to_string()
    } else {
        words.to_string()
    });
    // Whoever cannot read them has the code.
    let _ = match error.use_stderr() {
        true => write!(io::stderr().lock(), "{words}"),
        false => write!(io::stdout().lock(), "{words}"),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}

/// Runs a command that writes to the two streams and gives its own exit code.
fn written(command: impl FnOnce(&mut dyn Write, &mut dyn Write) -> io::Result<u8>) -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = command(&mut out, &mut io::stderr().lock()).and_then(|code| out.flush().map(|()| code));
    match outcome {
        Ok(code) => code.into(),
        Err(error) => finish(Err(error.into())),
    }
}

/// Says what went wrong and gives the code.
fn finish(outcome: Result<(), Failure>) -> ExitCode {
    let code = match outcome {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.text.is_empty() {
                output::say(format_args!("tautline: {}", failure.text));
            }
            failure.exit.into()
        }
    };
    logging::finish();
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
