//! `mainstay relay replay`: a recorded round through the egress decision.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use mainstay_antelope::Name;
use mainstay_relay::replay::{Decided, Outcome, Recording, read, replay};

/// The longest recording that is read, in bytes: two minutes of blocks of a megabyte, in hex.
const LONGEST: u64 = 512 * 1024 * 1024;

/// Its command line.
pub(super) fn subcommand() -> Command {
    Command::new("replay")
        .about("Put a recorded round to the decision that says which blocks go out, and print every verdict")
        .after_help(
            "A recording is an object with the blocks of a round, or an object a line for everything that passed, as in the audit log; the form is \
             told in crates/relay/README.md. Claims are kept in memory, the clock is the recording's.\n\n\
             With --json every block is an object on a line: at, leg, block_num, id, previous, slot, producer, passes, verdict, why, \
             and where the recording has a verdict recorded and agrees.\n\n\
             Exit status: 0 if every verdict is the recorded one, 1 if one differs or a slot has two public blocks, 2 if the recording can't be read.",
        )
        .arg(Arg::new("from").value_name("ROUND.json | -").required(true).help("The recording, or - for standard input"))
        .arg(
            Arg::new("producer")
                .long("producer")
                .value_name("NAME")
                .value_delimiter(',')
                .action(ArgAction::Append)
                .value_parser(|name: &str| name.parse::<Name>())
                .help("Whose blocks are decided about, instead of whom the recording tells"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("One JSON object a block instead of text"))
}

/// Runs it.
pub(super) fn command(matches: &ArgMatches) -> ExitCode {
    let from = matches.get_one::<String>("from").map_or("", String::as_str);
    let chosen: Vec<Name> = matches.get_many("producer").unwrap_or_default().copied().collect();
    let (recording, producers) = match recorded(from, chosen) {
        Ok(both) => both,
        Err(why) => {
            eprintln!("error: {from}: {why}");
            return ExitCode::from(crate::WRONG_CONFIG);
        }
    };
    let outcome = replay(&recording, &producers);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let printed = print(&mut out, &outcome, matches.get_flag("json")).and_then(|()| out.flush());
    match printed {
        // Who reads has seen enough.
        Err(why) if why.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: cannot write: {why}");
            ExitCode::FAILURE
        }
        Ok(()) if outcome.doubles.is_empty() && outcome.blocks.iter().all(|block| block.agrees) => {
            ExitCode::SUCCESS
        }
        Ok(()) => ExitCode::FAILURE,
    }
}

fn recorded(from: &str, chosen: Vec<Name>) -> Result<(Recording, Vec<Name>), String> {
    let text = text(from)?;
    let recording = read(&text).map_err(|why| why.to_string())?;
    let producers = if chosen.is_empty() { recording.producers.clone() } else { chosen };
    if producers.is_empty() {
        return Err(
            "producer: it isn't told whose blocks are decided about; say it with --producer NAME".to_owned()
        );
    }
    Ok((recording, producers))
}

fn text(from: &str) -> Result<String, String> {
    let source: Box<dyn Read> = if from == "-" {
        Box::new(io::stdin().lock())
    } else {
        match File::open(from) {
            Ok(file) if file.metadata().is_ok_and(|it| it.is_dir()) => {
                return Err("is a folder, not a file".to_owned());
            }
            Ok(file) => Box::new(file),
            Err(why) if why.kind() == ErrorKind::NotFound => {
                return Err("no such file; - is standard input".to_owned());
            }
            Err(why) => return Err(format!("cannot open it: {why}")),
        }
    };
    let mut bytes = Vec::new();
    source.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|why| format!("cannot read it: {why}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(format!("longer than {LONGEST} bytes; cut it"));
    }
    String::from_utf8(bytes)
        .map_err(|why| format!("not text: byte {} is not UTF-8", why.utf8_error().valid_up_to()))
}

fn print(out: &mut impl Write, outcome: &Outcome, json: bool) -> io::Result<()> {
    for block in &outcome.blocks {
        if json {
            serde_json::to_writer(&mut *out, block)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{}", line(block))?;
        }
    }
    if !json {
        writeln!(out, "{}", sum(outcome))?;
    }
    Ok(())
}

fn line(block: &Decided) -> String {
    let differs = match &block.recorded {
        Some(recorded) if !block.agrees => format!(" [recorded: {recorded}]"),
        _ => String::new(),
    };
    format!(
        "{:>10.4}  leg {:<3} {:>10} {} {:<13} slot {} ({:>2})  {:<8}  {:<7}  {}{differs}",
        block.at,
        block.leg,
        block.block_num,
        block.id,
        block.producer.to_string(),
        block.slot.0,
        block.slot.position(),
        if block.passes { "pass" } else { "suppress" },
        block.verdict,
        block.why,
    )
}

fn sum(outcome: &Outcome) -> String {
    let blocks = &outcome.blocks;
    let passed = blocks.iter().filter(|block| block.passes).count();
    let recorded = blocks.iter().filter(|block| block.recorded.is_some()).count();
    let differ = blocks.iter().filter(|block| !block.agrees).count();
    let mut sum = format!(
        "{} blocks: {passed} pass, {} suppressed; {} slots with two public blocks",
        blocks.len(),
        blocks.len() - passed,
        outcome.doubles.len()
    );
    for (producer, slot) in &outcome.doubles {
        sum.push_str(&format!(" ({producer} {})", slot.0));
    }
    match (recorded, differ) {
        (0, _) => {}
        (_, 0) => sum.push_str("; every recorded verdict is the same"),
        (_, differ) => sum.push_str(&format!("; {differ} of {recorded} recorded verdicts differ")),
    }
    sum
}
