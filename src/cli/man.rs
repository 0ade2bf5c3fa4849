//! `tautline man`: the manual page in roff, all commands in one, for `tautline man | man -l -`.

use std::io::Write;

use clap::Command;
use clap_mangen::Man;

use super::Failure;

pub(super) fn execute(mut command: Command) -> Result<(), Failure> {
    let mut page = Vec::new();
    command.build();
    let man = Man::new(command.clone()).section("1");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    describe(&command, "tautline", &mut page)?;
    man.render_extra_section(&mut page)?;
    std::io::stdout().lock().write_all(&page)?;
    Ok(())
}

/// The subcommands with their options; the global ones stand above already.
fn describe(command: &Command, path: &str, page: &mut Vec<u8>) -> std::io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let mut own = sub.clone().mut_args(|arg| {
            let global = arg.is_global_set();
            arg.hide(global)
        });
        own = own
            .disable_help_flag(true)
            .disable_version_flag(true)
            .disable_help_subcommand(true);
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".SS {path}\n{}", about.replace('\\', "\\\\"))?;
        let mut options = Vec::new();
        Man::new(own).render_options_section(&mut options)?;
        let options = String::from_utf8_lossy(&options).replace(".SH OPTIONS\n", "");
        write!(page, "{options}")?;
        describe(sub, &path, page)?;
    }
    Ok(())
}
