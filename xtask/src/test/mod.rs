//! `cargo xtask test` and its quick part, `cargo xtask verify`. Runs all stages in sequence, even
//! after a failure, and measures the time of each.

mod runner;
mod stages;
mod tally;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use stages::{Kind, Stage};
use tally::Tally;

/// Runs all stages, which a change must pass before it is merged.
pub(crate) fn test() -> Result<ExitCode> {
    Ok(conclude(&stages::all()?))
}

/// Runs the stages that take seconds, need only Rust and write nothing.
pub(crate) fn verify() -> ExitCode {
    conclude(&stages::quick())
}

/// Builds the page and runs its tests in a browser: all, or those whose name contains `name`.
pub(crate) fn browser(name: Option<String>) -> ExitCode {
    conclude(&stages::browser(name))
}

/// Result of a stage.
struct Outcome {
    name: &'static str,
    tally: Tally,
    /// Whether all commands of the stage succeeded.
    succeeded: bool,
    took: Duration,
}

/// Runs the stages. The last line of output gives the number of passed and failed tests.
fn conclude(stages: &[Stage]) -> ExitCode {
    let start = Instant::now();
    let outcomes: Vec<Outcome> = stages.iter().map(perform).collect();
    let sum = total(&outcomes);
    print!("\n{}", table(&outcomes, start.elapsed()));
    if sum.failed > 0 {
        println!("failed (see their output above): {}", failed_names(&outcomes).join(", "));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn perform(stage: &Stage) -> Outcome {
    println!("\n=== {}", stage.name);
    let begun = Instant::now();
    let (mut tally, result) = stage.run();
    let took = begun.elapsed();
    let result = match (stage.kind, result) {
        // Test runners accept a run without tests; here it is a failure.
        (Kind::Tests, Ok(())) if tally.passed == 0 => Err(anyhow::anyhow!("no test ran")),
        (_, result) => result,
    };
    let seconds = took.as_secs_f64();
    match &result {
        Ok(()) => println!("=== {}: ok in {seconds:.1} s", stage.name),
        Err(error) => println!("=== {}: FAILED in {seconds:.1} s: {error:#}", stage.name),
    }
    match (stage.kind, &result) {
        (Kind::Check, Ok(())) => tally.passed += 1,
        (Kind::Check, Err(_)) => tally.failed += 1,
        (Kind::Tests, Ok(())) => {}
        // No summary was printed: compilation failed, or the tests crashed.
        (Kind::Tests, Err(_)) => tally.failed = tally.failed.max(1),
    }
    Outcome { name: stage.name, tally, succeeded: result.is_ok(), took }
}

fn total(outcomes: &[Outcome]) -> Tally {
    let mut sum = Tally::default();
    for outcome in outcomes {
        sum += outcome.tally;
    }
    sum
}

fn failed_names(outcomes: &[Outcome]) -> Vec<&'static str> {
    let failed = outcomes.iter().filter(|outcome| !outcome.succeeded || outcome.tally.failed > 0);
    failed.map(|outcome| outcome.name).collect()
}

fn table(outcomes: &[Outcome], took: Duration) -> String {
    let mut text = format!("{:<28} passed failed ignored  seconds\n", "stage");
    let sum = Outcome { name: "in all", tally: total(outcomes), succeeded: true, took };
    for Outcome { name, tally, took, .. } in outcomes.iter().chain(std::iter::once(&sum)) {
        let Tally { passed, failed, ignored } = tally;
        let seconds = took.as_secs_f64();
        writeln!(text, "{name:<28} {passed:>6} {failed:>6} {ignored:>7} {seconds:>8.1}")
            .expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    type Run = fn() -> (Tally, Result<()>);

    fn stage(kind: Kind, run: Run) -> Stage {
        Stage::function("a stage", kind, run)
    }

    fn tally(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed, ignored: 0 }
    }

    #[test]
    fn a_check_counts_as_one_and_tests_count_themselves() {
        let check = perform(&stage(Kind::Check, || (Tally::default(), Ok(()))));
        let tests = perform(&stage(Kind::Tests, || (tally(7, 0), Ok(()))));
        assert_eq!(total(&[check, tests]), tally(8, 0));
    }

    #[test]
    fn no_failure_goes_uncounted() {
        let broken: [Run; 3] = [
            || (Tally::default(), Err(anyhow::anyhow!("does not compile"))),
            || (tally(7, 0), Err(anyhow::anyhow!("crashed after its summary"))),
            || (tally(7, 1), Err(anyhow::anyhow!("a test failed"))),
        ];
        for run in broken {
            let outcome = perform(&stage(Kind::Tests, run));
            assert_eq!(outcome.tally.failed, 1);
            assert_eq!(failed_names(&[outcome]), ["a stage"]);
        }
        let check = perform(&stage(Kind::Check, || (Tally::default(), Err(anyhow::anyhow!("no")))));
        assert_eq!(check.tally, tally(0, 1));
    }

    #[test]
    fn a_stage_that_ran_no_test_has_failed() {
        let outcome = perform(&stage(Kind::Tests, || (Tally::default(), Ok(()))));
        assert_eq!(outcome.tally, tally(0, 1));
    }

    #[test]
    fn the_table_ends_with_the_sum() {
        let outcome = perform(&stage(Kind::Tests, || (tally(7, 0), Ok(()))));
        let text = table(&[outcome], Duration::from_millis(1500));
        let last = text.lines().last().unwrap();
        assert_eq!(
            last.split_whitespace().collect::<Vec<_>>(),
            ["in", "all", "7", "0", "0", "1.5"]
        );
    }
}
