//! What hostile clients send to the peer port.

use std::io::Result;

use native_node::transport::handshake::{Hello, nonce};
use native_node::transport::{Lane, Version};
use raft_core::types::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Visit;

/// Garbage, other protocols, endless frames, and servers that are not members.
pub(super) async fn garbage(mut stream: TcpStream, visit: Visit) -> Result<()> {
    let upgrade = format!(
        "GET /raft HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        visit.target.peer
    );
    let then: Vec<u8> = match visit.number % 8 {
        0 => return say(&mut stream, &[&[0x16, 3, 1, 2, 0]]).await,
        1 => return say(&mut stream, &[&vec![b'g'; 70_000]]).await,
        2 => return say(&mut stream, &[b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"]).await,
        // A frame that announces an exbibyte.
        3 => vec![0x82, 0xff, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        4 => frame(b"GLSR and then nonsense"),
        5 => frame(&hello(|hello| "another".clone_into(&mut hello.cluster_id)).encode()),
        6 => {
            let mut other_version = hello(|_| ()).encode();
            other_version[4] ^= 0xff;
            frame(&other_version)
        }
        _ => frame(&hello(|hello| hello.from = NodeId(77)).encode()),
    };
    say(&mut stream, &[upgrade.as_bytes(), &then]).await
}

fn hello(change: impl FnOnce(&mut Hello)) -> Hello {
    let mut hello = Hello {
        version: Version::NEWEST,
        cluster_id: "test".to_owned(),
        from: NodeId(2),
        to: NodeId(1),
        lane: Lane::Log,
        nonce: nonce(),
        address: "127.0.0.1:9".parse().unwrap(),
        lease: None,
        storage: None,
        let_in: 0,
        founded: None,
    };
    change(&mut hello);
    hello
}

/// A WebSocket client frame with a mask of zeros, which changes nothing.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = vec![0x82, 0xfe];
    frame.extend(length.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Sends bytes and reads until the server closes the connection.
async fn say(stream: &mut TcpStream, words: &[&[u8]]) -> Result<()> {
    for word in words {
        stream.write_all(word).await?;
    }
    let mut answer = [0; 1024];
    while stream.read(&mut answer).await? > 0 {}
    Ok(())
}
