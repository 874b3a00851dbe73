//! What hostile clients send to the client port.

use std::fmt::Write as _;
use std::io::{Error, Result};
use std::time::Duration;

use raft_core::kv::MAX_VALUE_BYTES;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{PREFIX, Visit};

/// Delay between two bytes.
const DRIP: Duration = Duration::from_millis(50);

/// Number of requests that are sent without waiting for a response.
const PIPELINED: usize = 8;

impl Visit {
    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let token = &self.target.token;
        self.head_with(method, path, length, &format!("authorization: Bearer {token}\r\n"))
    }

    fn head_with(&self, method: &str, path: &str, length: usize, headers: &str) -> String {
        let host = &self.target.client;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{headers}");
        if length > 0 {
            write!(head, "content-length: {length}\r\n").expect("text can be written to");
        }
        head + "\r\n"
    }

    /// Reads and counts a response's header, and the part of the body that arrives with it.
    async fn answer(&self, stream: &mut TcpStream) -> Result<u16> {
        let mut answer = Vec::new();
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(Error::other("cut off"));
            }
        }
        let status =
            answer.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let status = status.ok_or_else(|| Error::other("no answer"))?;
        self.tally.answered(status);
        Ok(status)
    }
}

async fn drip(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte]).await?;
        sleep(DRIP).await;
    }
    Ok(())
}

/// Sends the header byte by byte.
pub(super) async fn slow_header(mut stream: TcpStream, visit: Visit) -> Result<()> {
    drip(&mut stream, visit.head("GET", "/kv/a", 0).as_bytes()).await?;
    visit.answer(&mut stream).await.map(drop)
}

/// Sends the body byte by byte.
pub(super) async fn slow_body(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let path = format!("/kv/{PREFIX}slow");
    stream.write_all(visit.head("PUT", &path, MAX_VALUE_BYTES).as_bytes()).await?;
    drip(&mut stream, &[b's'; 1024]).await
}

/// Requests large responses and reads them byte by byte.
pub(super) async fn slow_reader(mut stream: TcpStream, visit: Visit) -> Result<()> {
    // The longest response of these servers.
    let much = visit.head("GET", "/openapi.json", 0).repeat(64);
    let (mut reading, mut writing) = stream.split();
    let asking = async {
        writing.write_all(much.as_bytes()).await?;
        std::future::pending().await
    };
    let dripping = async {
        while reading.read(&mut [0]).await? > 0 {
            sleep(DRIP).await;
        }
        Ok(())
    };
    tokio::select! {
        asked = asking => asked,
        read = dripping => read,
    }
}

/// Sends bodies and headers above the limits, and requests large ranges.
pub(super) async fn huge(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let put = |key: &str, size| (visit.head("PUT", &format!("/kv/{PREFIX}{key}"), size), size);
    let fields = "x-field: value\r\n";
    let range = r#"{"range":{"range":{"start":"a","end":"~"},"limit":1000}}"#;
    let reads = format!(r#"{{"then":[{}]}}"#, vec![range; 64].join(","));
    let (head, size) = match visit.number % 8 {
        0 | 1 => put("too-large", MAX_VALUE_BYTES + 1),
        2 => put("far-too-large", 64 << 20),
        3 => put("announced", usize::MAX >> 1),
        4 => (visit.head_with("GET", "/kv/a", 0, &fields.repeat(100)), 0),
        5 => (
            visit.head_with("GET", "/kv/a", 0, &format!("x-long: {}\r\n", "x".repeat(64 << 10))),
            0,
        ),
        6 => (visit.head("GET", "/kv?limit=1000", 0), 0),
        _ => (visit.head("POST", "/txn", reads.len()) + &reads, 0),
    };
    let (reading, mut writing) = stream.split();
    let send = async {
        writing.write_all(head.as_bytes()).await?;
        let piece = vec![b'h'; 64 << 10];
        let mut left = size;
        while left > 0 {
            let now = left.min(piece.len());
            writing.write_all(&piece[..now]).await?;
            left -= now;
        }
        Ok::<_, Error>(())
    };
    // The response may arrive early; then stop sending.
    tokio::select! {
        all = send => all,
        early = reading.readable() => early,
    }?;
    visit.answer(&mut stream).await.map(drop)
}

/// Writes a value of the maximum size, once a second.
pub(super) async fn largest(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let head = visit.head("PUT", &format!("/kv/{PREFIX}largest"), MAX_VALUE_BYTES);
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'l'; MAX_VALUE_BYTES]).await?;
    visit.answer(&mut stream).await?;
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Sends pipelined requests without end.
pub(super) async fn flood(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let mut requests = String::new();
    for number in 0..PIPELINED as u64 {
        let path = format!("/kv/{PREFIX}flood-{}", (visit.number + number) % 64);
        if number % 2 == 0 {
            requests += &(visit.head("PUT", &path, 1) + "f");
        } else {
            requests += &visit.head("GET", &path, 0);
        }
    }
    loop {
        stream.write_all(requests.as_bytes()).await?;
        let (mut answers, mut counted) = (Vec::new(), 0);
        while counted < PIPELINED {
            if stream.read_buf(&mut answers).await? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&answers);
            let statuses = text.split("HTTP/1.1 ").skip(1).filter(|it| it.len() >= 3);
            let statuses: Vec<u16> = statuses.filter_map(|it| it[..3].parse().ok()).collect();
            for status in statuses.iter().skip(counted) {
                visit.tally.answered(*status);
            }
            counted = statuses.len();
        }
    }
}

/// Sends invalid tokens to every kind of route.
pub(super) async fn stranger(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let wrong = [
        String::new(),
        "authorization: Bearer glr_0000\r\n".to_owned(),
        format!("authorization: Basic {}\r\n", visit.target.token),
        format!("authorization: Bearer {}0\r\n", visit.target.token),
        format!("authorization: Bearer {}\r\n", &visit.target.token[..20]),
    ];
    let doors = [
        ("GET", "/kv?limit=10"),
        ("PUT", "/kv/hostile"),
        ("DELETE", "/kv/hostile"),
        ("POST", "/txn"),
        ("GET", "/watch?prefix="),
        ("POST", "/cluster/snapshot"),
        ("DELETE", "/cluster/members/1"),
        ("PUT", "/faults"),
        ("GET", "/cluster/backup"),
    ];
    let number = usize::try_from(visit.number).unwrap();
    let (method, path) = doors[number % doors.len()];
    let headers = &wrong[number / doors.len() % wrong.len()];
    let body = if matches!(method, "PUT" | "POST") { "{}" } else { "" };
    let request = visit.head_with(method, path, body.len(), headers) + body;
    stream.write_all(request.as_bytes()).await?;
    visit.answer(&mut stream).await.map(drop)
}
