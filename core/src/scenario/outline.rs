//! Splits Markdown into the parts of a file, before their commands are parsed. The page runs this
//! step at build time, so it contains no Markdown parser.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde::{Deserialize, Serialize};

/// The language of the blocks that run.
const LANGUAGE: &str = "raft";

/// A part, and the line where it begins, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The line.
    pub line: usize,
    /// The part.
    pub part: Part,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The lines of `key: value` at the top.
    Header(String),
    /// A heading.
    Heading {
        /// Its level, from 1.
        level: u8,
        /// Its text.
        text: String,
    },
    /// A paragraph or other text for the reader, as Markdown.
    Prose(String),
    /// A numbered list.
    Numbered {
        /// The whole list, as Markdown.
        text: String,
        /// Its items, each on one line without its number.
        items: Vec<String>,
    },
    /// The content of a `raft` block. It begins on the line after the fence.
    Commands(String),
    /// Something in a wrong place, and why it is wrong there.
    Misplaced(String),
}

/// Reads the parts of a file, in order.
pub fn outline(text: &str) -> Vec<Placed> {
    let mut reader = Reader {
        source: text,
        inside: Inside::Prose,
        text: String::new(),
        line: 1,
        parts: Vec::new(),
    };
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS | Options::ENABLE_TABLES;
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                reader.start(&tag, range, depth);
                depth += 1;
            }
            Event::End(end) => {
                depth -= 1;
                reader.end(end);
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
    reader.parts
}

/// The element that the reader is inside.
enum Inside {
    Prose,
    Header,
    Heading(HeadingLevel),
    Commands,
}

struct Reader<'a> {
    source: &'a str,
    inside: Inside,
    /// The text since the element began, and its first line.
    text: String,
    line: usize,
    parts: Vec<Placed>,
}

impl Reader<'_> {
    fn line_of(&self, offset: usize) -> usize {
        1 + self.source[..offset].matches('\n').count()
    }

    fn push(&mut self, line: usize, part: Part) {
        self.parts.push(Placed { line, part });
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>, depth: usize) {
        let line = self.line_of(range.start);
        #[expect(clippy::wildcard_enum_match_arm, reason = "all else is text for the reader")]
        match tag {
            Tag::MetadataBlock(_) => self.begin(Inside::Header, line),
            Tag::Heading { level, .. } => self.begin(Inside::Heading(*level), line),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if language.as_ref() == LANGUAGE => {
                if depth > 0 {
                    let why = "a `raft` block must not be in a list";
                    self.push(line, Part::Misplaced(why.to_owned()));
                }
                self.begin(Inside::Commands, line + 1);
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(language))
                if language.eq_ignore_ascii_case(LANGUAGE) =>
            {
                let why = "write the language of the block as `raft`";
                self.push(line, Part::Misplaced(why.to_owned()));
            }
            Tag::List(Some(_)) if depth == 0 => {
                let text = self.source[range].trim_end().to_owned();
                self.push(line, Part::Numbered { text, items: Vec::new() });
            }
            Tag::Item if depth == 1 => {
                let item = self.item(range);
                if let Some(Placed { part: Part::Numbered { items, .. }, .. }) =
                    self.parts.last_mut()
                {
                    items.push(item);
                }
            }
            _ if depth == 0 => {
                let prose = self.source[range].trim_end().to_owned();
                self.push(line, Part::Prose(prose));
            }
            _ => {}
        }
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

    fn end(&mut self, end: TagEnd) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all else is text for the reader")]
        let inside = match end {
            TagEnd::Heading(_) | TagEnd::MetadataBlock(_) | TagEnd::CodeBlock => {
                std::mem::replace(&mut self.inside, Inside::Prose)
            }
            _ => return,
        };
        let (line, text) = (self.line, std::mem::take(&mut self.text));
        match inside {
            Inside::Prose => {}
            Inside::Header => self.push(line, Part::Header(text)),
            Inside::Heading(level) => self.push(line, Part::Heading { level: level as u8, text }),
            Inside::Commands => self.push(line, Part::Commands(text)),
        }
    }

    /// A list item on one line, without its number.
    fn item(&self, range: Range<usize>) -> String {
        let text = self.source[range].trim_start_matches(|c: char| c.is_ascii_digit());
        let text = text.trim_start_matches(['.', ')']);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
