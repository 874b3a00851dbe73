//! Who dials: servers say it in the first word of their handshake, which the network reads along.

use native_node::transport::handshake::Hello;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than a header or a first word takes.
const MAX_BYTES: usize = 16 << 10;

/// Passes the handshake on up to the first word of who dials. Gives the dialer's number and that
/// word, which is not passed on yet; nothing for anybody who does not speak as servers do.
pub(super) async fn introduce(
    dialer: &mut TcpStream,
    server: &mut TcpStream,
) -> Option<(usize, Vec<u8>)> {
    server.write_all(&header(dialer).await?).await.ok()?;
    dialer.write_all(&header(server).await?).await.ok()?;
    let mut frame = Vec::new();
    let payload = loop {
        if let Some(payload) = payload(&frame) {
            break payload;
        }
        more(dialer, &mut frame).await?;
    };
    let hello = Hello::decode(&payload).ok()?;
    Some((usize::try_from(hello.from.0).ok()?, frame))
}

/// Reads a header to its end. Nobody says more before the other side has answered.
async fn header(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        more(from, &mut bytes).await?;
    }
    Some(bytes)
}

async fn more(from: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = from.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MAX_BYTES).then_some(())
}

/// What the first frame of a WebSocket's client carries (RFC 6455, section 5.2), once it is whole.
fn payload(frame: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = match usize::from(*frame.get(1)? & 0x7f) {
        126 => {
            let (length, rest) = frame.get(2..)?.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        length => (length, frame.get(2..)?),
    };
    let (mask, masked) = rest.split_first_chunk::<4>()?;
    let masked = masked.get(..length)?;
    Some(masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}
