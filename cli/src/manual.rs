//! `cairn completions` and `cairn man`: what the shell and `man` know of the tool, made from the same
//! definitions as its help.

use crate::{
    exit::{About, Failure, Outcome},
    stream,
};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use std::{fs, io::Write, path::PathBuf};

pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  cairn completions bash > cairn.bash
  cairn completions zsh > _cairn
  cairn completions fish > cairn.fish";

pub const MAN_EXAMPLES: &str = "\
Examples:
  cairn man > cairn.1
  cairn man append > cairn-append.1
  cairn man --dir man1";

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command whose page is printed; without it, that of the tool
    #[arg(conflicts_with = "dir")]
    command: Option<String>,
    /// Write the pages of all commands into this directory instead
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs, mut tool: Command) -> Outcome {
    // It takes every error of its output for a bug: so into memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tool, "cairn", &mut script);
    print(&script)
}

pub fn man(args: &ManArgs, mut tool: Command) -> Outcome {
    tool.build();
    if let Some(dir) = &args.dir {
        return write_all(dir.clone(), &tool);
    }
    let page = match &args.command {
        None => page(&tool),
        Some(name) => match tool.find_subcommand(name).filter(|it| !it.is_hide_set()) {
            Some(command) => page(command),
            None => {
                let text = format!("man: there is no command `{name}`");
                return Err(Failure::Usage(text));
            }
        },
    };
    print(&page)
}

fn print(bytes: &[u8]) -> Outcome {
    let mut out = stream::raw();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

fn page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let source = concat!("cairn ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source);
    // Memory takes everything.
    man.render(&mut page).ok();
    page
}

fn write_all(dir: PathBuf, tool: &Command) -> Outcome {
    fs::create_dir_all(&dir).about(dir.display())?;
    let write = |command: &Command| {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let path = dir.join(format!("{name}.1"));
        fs::write(&path, page(command)).about(path.display())
    };
    write(tool)?;
    let shown = tool.get_subcommands().filter(|it| !it.is_hide_set());
    let mut count = 1;
    for command in shown.filter(|it| it.get_name() != "help") {
        write(command)?;
        count += 1;
    }
    let to = dir.display();
    stream::report(None, |out| writeln!(out, "wrote {count} pages to {to}"))
}
