//! The file format of a trace: a header line, then one event as JSON per line.

use raft_core::event::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The first line of a trace that the page saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the file format.
    pub(crate) glassraft_trace: u32,
    /// The version of the core.
    pub(crate) core: String,
    /// The number of events that follow.
    pub(crate) events: usize,
    /// The digest of the events, in hexadecimal.
    pub(crate) digest: String,
    /// The address of the run in the page, `#` included.
    pub(crate) run: String,
}

/// The format version that the page writes.
const VERSION: u32 = 1;

/// Errors in a trace file.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum TraceError {
    #[error(
        "Line {line} of this file is no event ({why}). Choose a trace that the page saved or that \
         a server's /trace sent."
    )]
    Line { line: usize, why: String },
    #[error("There is no event in this file. Choose a trace: one event as JSON on each line.")]
    Empty,
    #[error("This trace has version {0}, and this page reads version {VERSION}. Use a newer page.")]
    Version(u32),
    #[error("This trace was cut off: {found} of its {said} events are there. Get the whole file.")]
    Cut { found: usize, said: usize },
    #[error("This trace has more than {most} events, too many to show. Open a part of it.")]
    Long { most: usize },
}

/// The maximum number of events of a trace that the page opens.
const MOST: usize = 500_000;

/// Writes a trace file.
pub(crate) fn write(events: &[Event], digest: u64, run: String) -> String {
    let header = Header {
        glassraft_trace: VERSION,
        core: env!("CARGO_PKG_VERSION").to_owned(),
        events: events.len(),
        digest: format!("{digest:016x}"),
        run,
    };
    // These values always have a JSON form.
    let mut text = serde_json::to_string(&header).unwrap_or_default();
    for event in events {
        text.push('\n');
        text.push_str(&serde_json::to_string(event).unwrap_or_default());
    }
    text.push('\n');
    text
}

/// Reads a trace, and its header if there is one. The text is the output of [`write()`], or lines
/// from a server, which hold several events each.
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
    // Parsing by way of `Value` makes the code for all kinds of events far smaller.
    let value = serde_json::from_str::<Value>(content).and_then(serde_json::from_value);
    value.map_err(|error| {
        let why = error.to_string();
        let why = why.split(" at line").next().unwrap_or_default().to_owned();
        TraceError::Line { line, why }
    })
}
