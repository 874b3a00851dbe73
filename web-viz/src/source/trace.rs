//! A trace as a file: a line that says what it is, then an event a line, as JSON.

use raft_core::event::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The first line of a trace that the page saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of this form of files.
    pub(crate) glassraft_trace: u32,
    /// The core that ran.
    pub(crate) core: String,
    /// How many events follow.
    pub(crate) events: usize,
    /// Their digest, as hexadecimal digits.
    pub(crate) digest: String,
    /// The address of the run in the page, `#` included.
    pub(crate) run: String,
}

/// The version that is written.
const VERSION: u32 = 1;

/// What is wrong with a file.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TraceError {
    #[error(
        "Line {line} of this file is no event ({why}). A trace has one event as JSON on each line; \
         the page saves such files, and a server's /trace sends such lines."
    )]
    Line { line: usize, why: String },
    #[error("There is no event in this file. Choose a trace: one event as JSON on each line.")]
    Empty,
    #[error(
        "This trace has version {0}, and this page reads version {VERSION}. Take a newer page."
    )]
    Version(u32),
    #[error("This trace was cut off: {found} of its {said} events are there. Get the whole file.")]
    Cut { found: usize, said: usize },
    #[error("This trace has more than {most} events, too many to be shown. Cut it to a part.")]
    Long { most: usize },
}

/// More are not kept in a page.
const MOST: usize = 500_000;

/// Writes a trace.
pub(crate) fn write(events: &[Event], digest: u64, run: String) -> String {
    let header = Header {
        glassraft_trace: VERSION,
        core: env!("CARGO_PKG_VERSION").to_owned(),
        events: events.len(),
        digest: format!("{digest:016x}"),
        run,
    };
    // Such values always have a JSON form.
    let mut text = serde_json::to_string(&header).unwrap_or_default();
    for event in events {
        text.push('\n');
        text.push_str(&serde_json::to_string(event).unwrap_or_default());
    }
    text.push('\n');
    text
}

/// Reads a trace, with its header where it has one: what [`write()`] wrote, or what a server sent, whose lines hold several events.
pub(crate) fn read(text: &str) -> Result<(Vec<Event>, Option<Header>), TraceError> {
    let mut events = Vec::new();
    let mut header: Option<Header> = None;
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        if events.is_empty() && header.is_none() && content.contains("glassraft_trace") {
            let read: Header = parse(line, content)?;
            if read.glassraft_trace != VERSION {
                return Err(TraceError::Version(read.glassraft_trace));
            }
            header = Some(read);
        } else if content.trim_start().starts_with('[') {
            events.extend(parse::<Vec<Event>>(line, content)?);
        } else {
            events.push(parse(line, content)?);
        }
        if events.len() > MOST {
            return Err(TraceError::Long { most: MOST });
        }
    }
    let said = header.as_ref().map_or(events.len(), |header| header.events);
    if said != events.len() {
        return Err(TraceError::Cut { found: events.len(), said });
    }
    if events.is_empty() { Err(TraceError::Empty) } else { Ok((events, header)) }
}

fn parse<T: DeserializeOwned>(line: usize, content: &str) -> Result<T, TraceError> {
    // By way of a plain value: the readers of all kinds of events come out far smaller so.
    let value = serde_json::from_str::<Value>(content).and_then(serde_json::from_value);
    value.map_err(|error| {
        let why = error.to_string();
        let why = why.split(" at line").next().unwrap_or_default().to_owned();
        TraceError::Line { line, why }
    })
}
