//! Servers whose log cannot be written, that lose a task, or that must end while they hang.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{CALM, Cluster, eventually};
use crate::http::{send, try_send};

/// A process that ends with its test.
struct Ended(Child);

impl Ended {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn status(&mut self) -> ExitStatus {
        eventually("it ends", async || self.0.try_wait().unwrap()).await
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A full pipe, and its end for reading.
fn full_pipe() -> (io::PipeReader, Stdio) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer.into())
}

async fn figure(cluster: &Cluster, name: &str) -> Option<f64> {
    let answer = try_send("GET", &cluster.address(1), "/metrics", &[], Bytes::new()).await.ok()?;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{name} ")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Guards a server against its own log: whatever standard error is, writes, snapshots and health
/// checks succeed. Lost lines are counted, and SIGTERM ends the server cleanly.
#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let mut kept_open = Vec::new();
    for what in ["closed", "no reader", "unread", "full"] {
        let mut arguments = CALM.to_vec();
        // Each event of the protocol is a line.
        arguments.extend([
            "--compact-after-entries=20",
            "--keep-entries=5",
            "--log=info,raft=debug",
        ]);
        let cluster = Cluster::prepare(1, &arguments);
        let mut command = cluster.command(1);
        let log = match what {
            "closed" => {
                let server = command;
                command = Command::new("sh");
                command.args(["-c", "exec \"$@\" 2>&-", "sh"]).arg(server.get_program());
                command.args(server.get_args()).stdin(Stdio::null());
                Stdio::null()
            }
            "no reader" => {
                let (reader, writer) = io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
            "unread" => {
                let (reader, writer) = full_pipe();
                kept_open.push(reader);
                writer
            }
            _ => File::options().write(true).open("/dev/full").unwrap().into(),
        };
        let mut server = Ended::start({
            command.stdout(Stdio::null()).stderr(log);
            command
        });
        cluster.leader().await;
        let client = cluster.client(1);
        for number in 0..100_u32 {
            let value = Bytes::from(number.to_string());
            client.put(b"k", value).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            if number % 10 == 0 {
                client.request(&Method::POST, "/cluster/snapshot", Bytes::new()).await.unwrap();
            }
        }
        eventually("it compacts by itself", async || {
            let status = cluster.status(1).await?;
            (status.snapshot_index.0 > 90).then_some(())
        })
        .await;
        for path in ["/livez", "/readyz"] {
            assert_eq!(send("GET", &cluster.address(1), path, &[], "").await.status, 200, "{what}");
        }
        // A closed standard error becomes /dev/null.
        if what != "closed" {
            // An unread pipe first fills the queue of lines.
            eventually("lines that are lost are counted", async || {
                client.put(b"k", Bytes::from_static(b"v")).await.unwrap();
                let lost = figure(&cluster, "glassraft_log_dropped_lines_total").await?;
                (lost > 0.0).then_some(())
            })
            .await;
        }
        server.signal(Signal::TERM);
        let status = server.status().await;
        assert!(status.success(), "{what}: {status}");
    }
}

/// Guards a cluster against a server that has lost a part: whatever task or thread ends, the server
/// names it and ends with an error.
#[tokio::test]
async fn a_task_that_ends_ends_the_server_visibly() {
    for (task, fault) in [
        ("the driver", "panic"),
        ("the driver", "end"),
        ("the listener for other servers", "panic"),
        ("the listener for other servers", "end"),
        ("the task that encodes events", "panic"),
        ("the timer of compactions", "end"),
        ("the task that reloads files", "panic"),
        ("the connection to another server", "end"),
        ("raft-log", "panic"),
        ("raft-snapshots", "panic"),
        ("raft-segments", "panic"),
        ("watchdog", "panic"),
    ] {
        // Server 2 does not run.
        let cluster = Cluster::prepare(2, &CALM);
        let mut command = cluster.command(1);
        command.env("GLASSRAFT_PLANTED", format!("{fault}:{task}"));
        let log = File::create(cluster.log(1)).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let status = Ended::start(command).status().await;
        let log = std::fs::read_to_string(cluster.log(1)).unwrap();
        assert!(!status.success(), "{fault}: {task}: {status}\n{log}");
        let said = if fault == "panic" { "because of a bug" } else { task };
        assert!(log.contains(said), "{fault}: {task}:\n{log}");
    }
}

/// Guards the end after a panic: the server ends although nobody reads its log.
#[tokio::test]
async fn a_panic_ends_the_server_although_nobody_reads_its_log() {
    let cluster = Cluster::prepare(1, &CALM);
    let mut command = cluster.command(1);
    command.env("GLASSRAFT_PLANTED", "panic:the driver");
    let (_reader, writer) = full_pipe();
    command.stdout(Stdio::null()).stderr(writer);
    let status = Ended::start(command).status().await;
    assert!(!status.success(), "{status}");
}

/// Guards the way out: a server whose runtime hangs still handles signals, and the second ends it
/// at once.
#[tokio::test]
async fn a_server_that_is_stuck_ends_at_the_second_signal() {
    let cluster = Cluster::prepare(1, &CALM);
    let mut command = cluster.command(1);
    command.env("GLASSRAFT_PLANTED", "hang:the driver");
    let log = File::create(cluster.log(1)).unwrap();
    command.stdout(Stdio::null()).stderr(log);
    let mut server = Ended::start(command);
    let said = |text: &'static str| {
        let log = cluster.log(1);
        async move || std::fs::read_to_string(&log).unwrap().contains(text).then_some(())
    };
    eventually("it serves", said("serving")).await;
    eventually("it is stuck", async || {
        let server = cluster.address(1);
        let asked = try_send("GET", &server, "/livez", &[], Bytes::new());
        tokio::time::timeout(Duration::from_millis(300), asked).await.is_err().then_some(())
    })
    .await;
    server.signal(Signal::TERM);
    eventually("it hears the first signal", said("received a signal to stop: finishing")).await;
    server.signal(Signal::TERM);
    assert_eq!(server.status().await.code(), Some(1));
}

/// Guards supervisors that restart servers: while the driver hangs, every probe of `/livez` fails
/// or times out, and after a while the server ends.
#[tokio::test]
async fn a_driver_that_hangs_fails_its_health_and_ends_the_server() {
    const LONGEST: Duration = Duration::from_secs(90);
    let cluster = Cluster::prepare(1, &[&CALM[..], &["--worker-threads=3"]].concat());
    let mut command = cluster.command(1);
    command.env("GLASSRAFT_PLANTED", "hang:the driver");
    let log = File::create(cluster.log(1)).unwrap();
    command.stdout(Stdio::null()).stderr(log);
    let mut server = Ended::start(command);
    let begun = std::time::Instant::now();
    let (mut alive_until, mut failed) = (begun, 0);
    let status = loop {
        if let Some(status) = server.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < LONGEST, "it goes on");
        let address = cluster.address(1);
        let asked = try_send("GET", &address, "/livez", &[], Bytes::new());
        // The task that hangs may keep the thread that would have polled the sockets: tokio then
        // answers nobody.
        match tokio::time::timeout(Duration::from_secs(1), asked).await {
            Ok(Ok(answer)) if answer.status == 200 => alive_until = std::time::Instant::now(),
            Ok(Ok(answer)) => {
                assert_eq!(answer.status, 503);
                failed += 1;
            }
            // At first it does not listen yet.
            Ok(Err(_)) | Err(_) => failed += u32::from(alive_until > begun),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(
        !status.success() && log.contains("its driver has made no progress"),
        "{status}:\n{log}"
    );
    assert!(alive_until > begun && failed > 1, "{failed} probes failed: {log}");
    assert!(alive_until.elapsed() > Duration::from_secs(20), "it passed for alive: {log}");
}

/// Guards load balancers: after SIGTERM `/readyz` fails while requests are still served, for the
/// configured delay; then the server ends cleanly.
#[tokio::test]
async fn a_server_that_ends_is_not_ready_first_and_serves_meanwhile() {
    let arguments = [&CALM[..], &["--shutdown-delay=3s"]].concat();
    let mut cluster = Cluster::start_with(1, &arguments);
    cluster.leader().await;
    let server = cluster.address(1);
    cluster.signal(1, Signal::TERM);
    let told = std::time::Instant::now();
    eventually("it says that it is not ready", async || {
        let ready = send("GET", &server, "/readyz", &[], "").await;
        (ready.status == 503 && ready.body.windows(10).any(|it| it == b"not-ending")).then_some(())
    })
    .await;
    let mut answers = 0;
    while let Ok(put) = try_send("PUT", &server, "/kv/k", &[], "v".into()).await {
        assert_eq!(put.status, 200, "{:?}", put.body);
        assert_eq!(put.header("connection"), "close");
        answers += 1;
    }
    assert!(told.elapsed() >= Duration::from_secs(3), "it ended after {:?}", told.elapsed());
    assert!(answers > 0);
    assert!(cluster.ended(1).await.success());
}

/// Guards the systemd unit: the server notifies the service manager when it serves, regularly while
/// it runs, and when it ends.
#[tokio::test]
async fn the_service_manager_is_told_what_happens() {
    let cluster = Cluster::prepare(1, &CALM);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let mut command = cluster.command(1);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "30000000");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Ended::start(command);
    let mut heard = String::new();
    let mut wait_for = async |word: &str| {
        eventually(&format!("it says {word}"), async || {
            let mut buffer = [0; 1024];
            while let Ok(length) = manager.recv(&mut buffer) {
                heard += &String::from_utf8_lossy(&buffer[..length]);
                heard.push('\n');
            }
            heard.contains(word).then_some(())
        })
        .await;
    };
    wait_for("READY=1").await;
    assert_eq!(send("GET", &cluster.address(1), "/livez", &[], "").await.status, 200);
    wait_for("WATCHDOG=1").await;
    server.signal(Signal::TERM);
    wait_for("STOPPING=1").await;
    assert!(server.status().await.success());
}
