//! Converts the lessons' Markdown when the page is built, because a Markdown parser would add a
//! tenth to the page's size. The page gets the parts of each file, with prose as HTML, cut into
//! sentences.
//!
//! **Invariant:** The Markdown files are the only source of the lessons. A test compares the
//! converted form with them.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd, html};
use raft_core::codec;
use raft_core::scenario::{LIBRARY, Part, Placed, RIGHT, outline};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let lessons: Vec<(&str, Vec<Placed>)> = LIBRARY
        .iter()
        .map(|source| (source.file, outline(source.text).into_iter().map(prepared).collect()))
        .collect();
    let target = Path::new(&env::var("OUT_DIR")?).join("lessons.bin");
    fs::write(target, codec::encode(&lessons))?;
    Ok(())
}

/// Converts a part's Markdown to HTML.
fn prepared(placed: Placed) -> Placed {
    let part = match placed.part {
        Part::Prose(text) => Part::Prose(sentences(&text)),
        Part::Numbered { text, items } => Part::Numbered {
            text: sentences(&text),
            items: items.iter().map(|item| whole(item)).collect(),
        },
        part
        @ (Part::Header(_) | Part::Heading { .. } | Part::Commands(_) | Part::Misplaced(_)) => part,
    };
    Placed { part, ..placed }
}

/// Splits a paragraph into sentences, one per line. Other blocks, such as lists, become one line.
fn sentences(markdown: &str) -> String {
    let events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let [Event::Start(Tag::Paragraph), inside @ .., Event::End(TagEnd::Paragraph)] =
        events.as_slice()
    else {
        return on_one_line(events.into_iter());
    };
    let mut said = vec![Vec::new()];
    let mut depth = 0_usize;
    for event in inside {
        if let Event::Text(text) = event
            && depth == 0
        {
            let mut rest = &**text;
            while let Some(end) = end_of_sentence(rest) {
                let (sentence, more) = rest.split_at(end);
                push(&mut said, Event::Text(sentence.to_owned().into()));
                said.push(Vec::new());
                rest = more.trim_start();
            }
            push(&mut said, Event::Text(rest.to_owned().into()));
        } else if *event == Event::SoftBreak && depth == 0 && is_ended(said.last()) {
            // A sentence can also end at a line break.
            said.push(Vec::new());
        } else {
            depth += usize::from(matches!(event, Event::Start(_)));
            depth -= usize::from(matches!(event, Event::End(_)));
            push(&mut said, event.clone());
        }
    }
    let lines = said.into_iter().map(|sentence| on_one_line(sentence.into_iter()));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn push<'a>(said: &mut [Vec<Event<'a>>], event: Event<'a>) {
    if let Some(sentence) = said.last_mut() {
        sentence.push(event);
    }
}

/// The end of the text's first sentence, if another sentence follows.
fn end_of_sentence(text: &str) -> Option<usize> {
    text.char_indices().filter(|(_, letter)| letter.is_whitespace()).map(|(at, _)| at).find(|at| {
        let (before, after) = text.split_at(*at);
        ends(before) && !after.trim_start().starts_with(char::is_lowercase)
    })
}

/// Whether a text ends at the end of a sentence.
fn ends(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '”', ')', '’']);
    text.ends_with(['.', '?', '!']) && !["e.g.", "i.e.", "cf."].iter().any(|it| text.ends_with(it))
}

fn is_ended(sentence: Option<&Vec<Event<'_>>>) -> bool {
    matches!(sentence.and_then(|events| events.last()), Some(Event::Text(text)) if ends(text))
}

/// Converts an answer to HTML. The [`RIGHT`] marker is kept as it is.
fn whole(markdown: &str) -> String {
    if let Some(comment) = markdown.strip_prefix(RIGHT) {
        return format!("{RIGHT} {}", whole(comment));
    }
    let is_text = |it: &Event<'_>| {
        !matches!(it, Event::Start(Tag::Paragraph) | Event::End(TagEnd::Paragraph))
    };
    on_one_line(Parser::new(markdown.trim()).filter(is_text))
}

fn on_one_line<'a>(events: impl Iterator<Item = Event<'a>>) -> String {
    let mut text = String::new();
    let breaks = |event: &Event<'_>| matches!(event, Event::SoftBreak | Event::HardBreak);
    let joined = events.map(|event| if breaks(&event) { Event::Text(" ".into()) } else { event });
    html::push_html(&mut text, joined);
    text.replace('\n', " ").trim().to_owned()
}
