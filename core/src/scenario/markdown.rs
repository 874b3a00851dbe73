//! From Markdown to steps. Headings of the first level give the title, those of the second the
//! parts of a lesson, those of the third its steps.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::{Block, Choice, Fault, Header, Phase, Question, Scenario, Step, parse, words};

/// The heading below which the answers to the question stand.
const ANSWERS: &str = "The answers";

/// What the right answer's comment begins with.
const RIGHT: &str = "**Right.**";

/// The language of the blocks that are run.
const LANGUAGE: &str = "raft";

pub(super) fn parse(file: &str, text: &str) -> Result<Scenario, Fault> {
    let mut reader = Reader::new(file, text);
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_TABLES;
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                reader.start(&tag, range, depth)?;
                depth += 1;
            }
            Event::End(end) => {
                depth -= 1;
                reader.end(end)?;
            }
            Event::Text(text) => reader.text(&text, range),
            Event::Code(code) => reader.text(&code, range),
            Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::SoftBreak
            | Event::HardBreak
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    reader.finish()
}

/// What the reader is inside of.
enum Inside {
    Prose,
    Header,
    Heading(HeadingLevel),
    Commands,
}

struct Reader<'a> {
    file: &'a str,
    source: &'a str,
    inside: Inside,
    /// What was read since that began, and its first line.
    text: String,
    line: usize,
    title: Option<String>,
    header: Header,
    steps: Vec<Step>,
    choices: Vec<String>,
    answers: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str, source: &'a str) -> Self {
        Self {
            file,
            source,
            inside: Inside::Prose,
            text: String::new(),
            line: 1,
            title: None,
            header: Header::default(),
            steps: Vec::new(),
            choices: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn line_of(&self, offset: usize) -> usize {
        1 + self.source[..offset].matches('\n').count()
    }

    fn fault(&self, line: usize, message: impl Into<String>) -> Fault {
        Fault { file: self.file.to_owned(), line, message: message.into() }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>, depth: usize) -> Result<(), Fault> {
        let line = self.line_of(range.start);
        #[expect(clippy::wildcard_enum_match_arm, reason = "all else is text for the reader")]
        match tag {
            Tag::MetadataBlock(_) => self.begin(Inside::Header, line),
            Tag::Heading { level, .. } => self.begin(Inside::Heading(*level), line),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if language.as_ref() == LANGUAGE => {
                if depth > 0 {
                    return Err(self.fault(line, "a `raft` block stands by itself, not in a list"));
                }
                self.begin(Inside::Commands, line + 1);
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(language))
                if language.eq_ignore_ascii_case(LANGUAGE) =>
            {
                return Err(self.fault(line, "the language of a block is written `raft`"));
            }
            Tag::Item if depth == 1 && self.is_in(Phase::Predict) => {
                self.choices.push(self.item(range));
            }
            Tag::Item if depth == 1 && self.is_among_answers() => {
                self.answers.push(self.item(range));
            }
            Tag::List(Some(_)) if self.is_in(Phase::Predict) || self.is_among_answers() => {}
            _ if depth == 0 => {
                let prose = self.source[range].trim_end().to_owned();
                self.push(Block::Prose(prose), line)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, inside: Inside, line: usize) {
        (self.inside, self.line) = (inside, line);
        self.text.clear();
    }

    fn text(&mut self, text: &str, range: Range<usize>) {
        if self.text.is_empty() {
            self.line = self.line_of(range.start);
        }
        self.text.push_str(text);
    }

    fn end(&mut self, end: TagEnd) -> Result<(), Fault> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all else is text for the reader")]
        let inside = match end {
            TagEnd::Heading(_) | TagEnd::MetadataBlock(_) | TagEnd::CodeBlock => {
                std::mem::replace(&mut self.inside, Inside::Prose)
            }
            _ => return Ok(()),
        };
        let (line, text) = (self.line, std::mem::take(&mut self.text));
        match inside {
            Inside::Prose => Ok(()),
            Inside::Header => {
                self.header = Header::parse(self.file, line, &text)?;
                Ok(())
            }
            Inside::Heading(level) => self.heading(level, line, text),
            Inside::Commands => self.commands(line, &text),
        }
    }

    fn commands(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        let read = parse::lines(line, text);
        let lines = read.map_err(|(line, message)| self.fault(line, message))?;
        self.push(Block::Commands(lines), line)
    }

    fn heading(&mut self, level: HeadingLevel, line: usize, title: String) -> Result<(), Fault> {
        match level {
            HeadingLevel::H1 if self.title.is_none() => {
                self.title = Some(title.clone());
                let phase = Phase::Introduction;
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            HeadingLevel::H1 => return Err(self.fault(line, "a scenario has one title")),
            HeadingLevel::H2 => {
                let phase = phase(&title).map_err(|message| self.fault(line, message))?;
                if self.steps.last().is_some_and(|last| last.phase >= phase) {
                    return Err(self.fault(line, format!("`{phase}` comes too late or twice")));
                }
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            HeadingLevel::H3 => {
                let phase = self.steps.last().map(|last| last.phase);
                let phase = phase.ok_or_else(|| self.fault(line, "a step before the title"))?;
                self.steps.push(Step { phase, title, line, blocks: Vec::new() });
            }
            HeadingLevel::H4 | HeadingLevel::H5 | HeadingLevel::H6 => {
                return Err(self.fault(line, "headings have three levels: title, part, step"));
            }
        }
        Ok(())
    }

    fn push(&mut self, block: Block, line: usize) -> Result<(), Fault> {
        let Some(step) = self.steps.last_mut() else {
            return Err(self.fault(line, "the title, `# …`, comes first"));
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

    /// A list item without its number, on one line.
    fn item(&self, range: Range<usize>) -> String {
        let text = self.source[range].trim_start_matches(|c: char| c.is_ascii_digit());
        let text = text.trim_start_matches(['.', ')']);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn finish(self) -> Result<Scenario, Fault> {
        let title = self.title.clone().ok_or_else(|| self.fault(1, "a scenario has a title"))?;
        let question = self.question()?;
        if self.header.lesson.is_some() {
            self.require_all_parts(question.as_ref())?;
        }
        let (file, header, steps) = (self.file.to_owned(), self.header, self.steps);
        if header.breaks.is_none()
            && let Some(line) = steps.iter().flat_map(Step::lines).find(|line| line.only.is_some())
        {
            let message = "nothing is broken in this scenario: `kept:` and `broken:` need `breaks`";
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
            return Err(self.fault(line, format!("one answer begins with `{RIGHT}`")));
        }
        Ok(Some(Question { choices }))
    }

    fn require_all_parts(&self, question: Option<&Question>) -> Result<(), Fault> {
        for phase in [Phase::Predict, Phase::Run, Phase::Explain, Phase::Break] {
            if !self.steps.iter().any(|step| step.phase == phase) {
                return Err(self.fault(1, format!("a lesson has a part `## {phase}`")));
            }
        }
        if question.is_none() {
            return Err(self.fault(1, "a lesson asks a question: a numbered list in `Predict`"));
        }
        for (key, missing) in [
            ("breaks", self.header.breaks.is_none()),
            ("section", self.header.section.is_empty()),
            ("rule", self.header.rule.is_empty()),
        ] {
            if missing {
                return Err(self.fault(1, format!("a lesson's header has `{key}: …`")));
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
