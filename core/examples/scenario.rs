//! Plays a scenario and prints the result: `cargo xtask scenario FILE [--break RULE] [--print]`.

use std::process::ExitCode;

use raft_core::event::Event;
use raft_core::rules::Mutation;
use raft_core::scenario::{
    self, Arm, Fault, Guarantee, LIBRARY, Phase, Progress, Runner, Scenario, Step,
};
use raft_core::sim::{SimConfig, Simulation};
use raft_core::types::Time;

const USAGE: &str = "usage: scenario FILE [--break RULE] [--print]";

/// The options of the command line.
#[derive(Default)]
struct Wish {
    file: Option<String>,
    breaks: Option<String>,
    print: bool,
}

fn main() -> ExitCode {
    match wish(std::env::args().skip(1)).and_then(|wish| fulfil(&wish)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn wish(mut arguments: impl Iterator<Item = String>) -> Result<Wish, String> {
    let mut wish = Wish::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--print" => wish.print = true,
            "--break" => {
                let rule = arguments.next();
                wish.breaks = Some(rule.ok_or(format!("--break needs a rule; {USAGE}"))?);
            }
            option if option.starts_with('-') => {
                return Err(format!("unknown option {option}; {USAGE}"));
            }
            _ if wish.file.is_some() => return Err(format!("give one scenario only; {USAGE}")),
            _ => wish.file = Some(argument),
        }
    }
    Ok(wish)
}

fn fulfil(wish: &Wish) -> Result<(), String> {
    let Some(name) = &wish.file else {
        return list();
    };
    let (file, text) = read(name)?;
    let scenario = Scenario::parse(&file, &text).map_err(|fault| fault.to_string())?;
    let breaks = wish.breaks.as_deref().map(rule).transpose()?;
    play(&scenario, breaks, wish.print)
}

/// Lists the built-in scenarios, with the rule that each breaks.
fn list() -> Result<(), String> {
    println!("{USAGE}\nFILE is a path, or the number or the name of one of these:\n");
    for source in LIBRARY {
        let scenario =
            Scenario::parse(source.file, source.text).map_err(|fault| fault.to_string())?;
        let breaks = scenario.header.breaks.map(|rule| format!("--break {}", words(rule)));
        println!("  {:44} {}", source.file, breaks.unwrap_or_default());
    }
    Ok(())
}

/// Reads a file by its path, or a built-in scenario by its number or name.
fn read(name: &str) -> Result<(String, String), String> {
    match std::fs::read_to_string(name) {
        Ok(text) => Ok((name.to_owned(), text)),
        Err(error) => match scenario::find(name) {
            Some(source) => Ok((format!("core/scenarios/{}", source.file), source.text.to_owned())),
            None => Err(format!("cannot read {name}: {error}; omit FILE to list the scenarios")),
        },
    }
}

/// The name of a rule on the command line: `vote-twice` for `VoteTwice`.
fn words(rule: Mutation) -> String {
    let mut text = String::new();
    for letter in format!("{rule:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

fn rule(name: &str) -> Result<Mutation, String> {
    let wanted = name.to_lowercase().replace(['_', ' '], "-");
    let all = Mutation::ALL;
    all.iter().copied().find(|rule| words(*rule) == wanted).ok_or_else(|| {
        let known: Vec<String> = all.into_iter().map(words).collect();
        format!("there is no rule {name}; use one of {}", known.join(", "))
    })
}

fn play(scenario: &Scenario, breaks: Option<Mutation>, print: bool) -> Result<(), String> {
    // The file tells only what happens without its own rule. With another rule the reader must
    // judge.
    let own = breaks.is_some() && breaks == scenario.header.breaks;
    let arm = if own { Arm::Broken } else { Arm::Kept };
    let config = SimConfig { mutation: breaks, ..scenario.config(Arm::Kept) };
    let mut simulation = Simulation::new(config);
    let mut runner = Runner::new(scenario, arm);
    println!("{}", scenario.title);
    if let Some(rule) = breaks {
        println!("with the rule {} broken", words(rule));
    }
    let played = follow(scenario, &mut runner, &mut simulation, print);
    if let Err(fault) = played {
        return Err(fault.to_string());
    }
    for violation in simulation.violations() {
        println!("  {violation}");
    }
    for (guarantee, time) in runner.broken(&simulation) {
        match guarantee {
            Guarantee::Property(_) => {}
            Guarantee::Linearizability | Guarantee::Liveness | Guarantee::LeaderStability => {
                println!("  {guarantee} is violated at {time}");
            }
        }
    }
    println!("{}", if own { "as the file says without the rule" } else { "as the file says" });
    Ok(())
}

/// Plays to the end and prints a line for each step.
fn follow(
    scenario: &Scenario,
    runner: &mut Runner,
    simulation: &mut Simulation,
    print: bool,
) -> Result<(), Fault> {
    let mut present = None;
    let mut shown = 0;
    loop {
        let next = runner.next_line().map(|(step, line)| (step, line.text.clone()));
        let step = next.as_ref().map(|(step, _)| *step);
        if step != present {
            if let Some(before) = present {
                finished(&scenario.steps[before], print);
            }
            if let Some(step) = step.filter(|_| print) {
                println!("\n{}", title(&scenario.steps[step]));
            }
            present = step;
        }
        if print && let Some((_, line)) = &next {
            println!("  > {line}");
        }
        let progress = runner.advance(simulation, Time(u64::MAX));
        if print {
            for event in &runner.events()[shown..] {
                show(event);
            }
            shown = runner.events().len();
        }
        if progress? == Progress::Finished {
            return Ok(());
        }
    }
}

fn title(step: &Step) -> String {
    match step.phase {
        Phase::Introduction | Phase::Predict | Phase::Run | Phase::Explain | Phase::Break => {
            format!("{}: {}", step.phase, step.title)
        }
    }
}

fn finished(step: &Step, print: bool) {
    if print {
        println!("  \u{2713}");
    } else {
        println!("  \u{2713} {}", title(step));
    }
}

fn show(event: &Event) {
    println!("    {:>14}  {event}", event.time.to_string());
}
