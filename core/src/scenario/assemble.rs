//! Turns the parts of a file into steps. Headings of level 1 give the title, headings of level 2
//! the parts of a lesson, and headings of level 3 its steps.

use super::outline::{Part, Placed};
use super::{Block, Choice, Fault, Header, Phase, Question, Scenario, Step, parse, words};

/// The heading above the answers to the question.
const ANSWERS: &str = "The answers";

/// The prefix of the right answer's comment.
pub const RIGHT: &str = "**Right.**";

pub(super) fn assemble(file: &str, parts: Vec<Placed>) -> Result<Scenario, Fault> {
    let mut reader = Reader {
        file,
        title: None,
        header: Header::default(),
        steps: Vec::new(),
        choices: Vec::new(),
        answers: Vec::new(),
    };
    for Placed { line, part } in parts {
        reader.take(line, part)?;
    }
    reader.finish()
}

struct Reader<'a> {
    file: &'a str,
    title: Option<String>,
    header: Header,
    steps: Vec<Step>,
    choices: Vec<String>,
    answers: Vec<String>,
}

impl Reader<'_> {
    fn fault(&self, line: usize, message: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), line, message: message.into() }
    }

    fn take(&mut self, line: usize, part: Part) -> Result<(), Fault> {
        match part {
            Part::Header(text) => {
                self.header = Header::parse(self.file, line, &text)?;
                Ok(())
            }
            Part::Heading { level, text } => self.heading(level, line, text),
            Part::Numbered { items, .. } if self.is_in(Phase::Predict) => {
                self.choices.extend(items);
                Ok(())
            }
            Part::Numbered { items, .. } if self.is_among_answers() => {
                self.answers.extend(items);
                Ok(())
            }
            Part::Prose(text) | Part::Numbered { text, .. } => self.push(Block::Prose(text), line),
            Part::Commands(text) => {
                let read = parse::lines(line, &text);
                let lines = read.map_err(|(line, message)| self.fault(line, message))?;
                self.push(Block::Commands(lines), line)
            }
            Part::Misplaced(why) => Err(self.fault(line, why)),
        }
    }

    fn heading(&mut self, level: u8, line: usize, title: String) -> Result<(), Fault> {
        match level {
            1 if self.title.is_none() => {
                self.title = Some(title.clone());
                let phase = Phase::Introduction;
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            1 => return Err(self.fault(line, "a scenario must have a single title")),
            2 => {
                let phase = phase(&title).map_err(|message| self.fault(line, message))?;
                if self.steps.last().is_some_and(|last| last.phase >= phase) {
                    return Err(self.fault(line, format!("`{phase}` is too late or appears twice")));
                }
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            3 => {
                let phase = self.steps.last().map(|last| last.phase);
                let phase = phase.ok_or_else(|| self.fault(line, "the title must come first"))?;
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            _ => {
                return Err(self.fault(line, "use three levels of headings: title, part, step"));
            }
        }
        Ok(())
    }

    fn push(&mut self, block: Block, line: usize) -> Result<(), Fault> {
        let Some(step) = self.steps.last_mut() else {
            return Err(self.fault(line, "the title, `# …`, must come first"));
        };
        step.blocks.push(block);
        Ok(())
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.steps.last().is_some_and(|step| step.phase == phase)
    }

    fn is_among_answers(&self) -> bool {
        self.is_in(Phase::Explain) && self.steps.last().is_some_and(|step| step.title == ANSWERS)
    }

    fn finish(self) -> Result<Scenario, Fault> {
        let title = self.title.clone().ok_or_else(|| self.fault(1, "a scenario needs a title"))?;
        let question = self.question()?;
        if self.header.lesson.is_some() {
            self.require_all_parts(question.as_ref())?;
        }
        let (file, header, steps) = (self.file.to_owned(), self.header, self.steps);
        if header.breaks.is_none()
            && let Some(line) = steps.iter().flat_map(Step::lines).find(|line| line.only.is_some())
        {
            let message = "`kept:` and `broken:` need the key `breaks` in the header";
            return Err(Fault { file, line: line.number, message: message.to_owned() });
        }
        Ok(Scenario { file, title, header, steps, question })
    }

    fn question(&self) -> Result<Option<Question>, Fault> {
        if self.choices.is_empty() && self.answers.is_empty() {
            return Ok(None);
        }
        let line = self.steps.iter().find(|step| step.title == ANSWERS).map_or(1, |it| it.line);
        if self.choices.len() != self.answers.len() {
            return Err(self.fault(
                line,
                format!(
                    "{} choices in `Predict`, but {} comments in a numbered list below `### {ANSWERS}`",
                    self.choices.len(),
                    self.answers.len()
                ),
            ));
        }
        let pairs = self.choices.iter().zip(&self.answers);
        let choices: Vec<Choice> = pairs
            .map(|(text, comment)| {
                let right = comment.strip_prefix(RIGHT);
                let comment = right.unwrap_or(comment).trim().to_owned();
                Choice { text: text.clone(), right: right.is_some(), comment }
            })
            .collect();
        if choices.iter().filter(|choice| choice.right).count() != 1 {
            return Err(self.fault(line, format!("exactly one answer must begin with `{RIGHT}`")));
        }
        Ok(Some(Question { choices }))
    }

    fn require_all_parts(&self, question: Option<&Question>) -> Result<(), Fault> {
        for phase in [Phase::Predict, Phase::Run, Phase::Explain, Phase::Break] {
            if !self.steps.iter().any(|step| step.phase == phase) {
                return Err(self.fault(1, format!("a lesson needs a part `## {phase}`")));
            }
        }
        if question.is_none() {
            return Err(self.fault(1, "a lesson needs a question: a numbered list in `Predict`"));
        }
        for (key, missing) in [
            ("breaks", self.header.breaks.is_none()),
            ("section", self.header.section.is_empty()),
            ("rule", self.header.rule.is_empty()),
        ] {
            if missing {
                return Err(self.fault(1, format!("a lesson's header needs `{key}: …`")));
            }
        }
        Ok(())
    }
}

fn phase(title: &str) -> Result<Phase, String> {
    let phases = [Phase::Predict, Phase::Run, Phase::Explain, Phase::Break];
    let found = phases.into_iter().find(|phase| phase.to_string() == title);
    found.ok_or_else(|| {
        words::unknown("part", title, phases.map(|phase| phase.to_string())).to_string()
    })
}
