//! Disks that hang, are full or corrupt data, under servers that clients use.

use std::path::{Path, PathBuf};
use std::process::Command;

use api::kv::Consistency;
use bytes::Bytes;
use client::Client;
use raft_core::event::RoleName;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use testbed::faults::{ALLOW_FAULTS, Plan};
use testbed::load::{Load, judge};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::cluster::{CALM, Cluster, Limits, eventually, program, run_to_end};
use crate::doors::counted;
use crate::http::{send, try_send};

/// Segments of 1 MiB, which fill quickly.
const SMALL: &str = "--segment-bytes=1048576";

fn load(cluster: &Cluster) -> Load {
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    Load::start(4, &servers)
}

async fn end(cluster: &Cluster, load: Load) {
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}

/// Guards pitfall 32 among real processes: a leader whose disk hangs does not stay leader through
/// heartbeats alone, and SIGTERM still ends it.
#[tokio::test]
async fn pitfall_32_a_leader_whose_disk_hangs_hands_over() {
    let mut cluster = Cluster::start_with(3, &[ALLOW_FAULTS, "--request-timeout=1s"]);
    let leader = cluster.leader().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    plan.of(leader).disk.stalled = true;
    cluster.apply(&plan).await;
    eventually("another one leads", async || {
        let other = cluster.ids().find(|id| *id != leader).unwrap();
        cluster.status(other).await?.leader.filter(|place| place.id.0 != leader as u64)
    })
    .await;
    load.more_writes(50).await;
    cluster.heal().await;
    load.more_writes(50).await;
    cluster.set_faults(leader, plan.of(leader)).await;
    cluster.signal(leader, Signal::TERM);
    assert!(cluster.ended(leader).await.success());
    cluster.spawn(leader);
    end(&cluster, load).await;
}

/// Guards the other servers against one disk that hangs: only that server lags.
#[tokio::test]
async fn a_follower_whose_disk_hangs_stops_nobody() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    plan.of(follower).disk.stalled = true;
    cluster.apply(&plan).await;
    load.more_writes(200).await;
    assert_eq!(cluster.leader().await, leader);
    cluster.heal().await;
    end(&cluster, load).await;
}

/// Waits until the leader refuses writes because its disk is full, and checks that it still reads.
async fn refuses_writes_but_reads(cluster: &Cluster, leader: usize) {
    let address = cluster.address(leader);
    let value = "v".repeat(100_000);
    let full = eventually("the disk is said to be full", async || {
        let answer = send("PUT", &address, "/kv/filler", &[], value.clone()).await;
        // After a restart there may be no leader for a moment.
        (answer.status != 200 && answer.status != 503).then_some(answer)
    })
    .await;
    full.assert_problem(507, "disk_full");
    for consistency in [Consistency::Linearizable, Consistency::Stale] {
        let read = cluster.client(leader).get(b"filler", consistency).await.unwrap();
        assert_eq!(read.map(|value| value.len()), Some(100_000));
    }
}

/// Guards pitfall 39 with injected full disks: writes get a clear error, reads succeed, and the
/// cluster recovers by itself.
#[tokio::test]
async fn pitfall_39_full_disks_refuse_writes_and_recover() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, SMALL, CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    for id in cluster.ids() {
        plan.of(id).disk.full = true;
    }
    cluster.apply(&plan).await;
    refuses_writes_but_reads(&cluster, leader).await;
    cluster.heal().await;
    load.more_writes(50).await;
    end(&cluster, load).await;
}

/// Guards availability when only the leader's disk is full: another server leads and accepts
/// writes. It brings the old leader up to date once its disk has space.
#[tokio::test]
async fn a_leader_whose_disk_is_full_hands_over() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, SMALL, CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    plan.of(leader).disk.full = true;
    cluster.apply(&plan).await;
    // The server notices the full disk when it needs the next segment.
    let filler = "v".repeat(100_000);
    eventually("another one leads", async || {
        send("PUT", &cluster.address(leader), "/kv/filler", &[], filler.clone()).await;
        let status = cluster.status(leader).await?;
        status.leader.filter(|place| place.id.0 != leader as u64)
    })
    .await;
    for _ in 0..30 {
        let answer = send("PUT", &cluster.address(leader), "/kv/filler", &[], filler.clone()).await;
        assert_eq!(answer.status, 200, "three segments' worth, though one disk is full");
    }
    load.more_writes(50).await;
    cluster.heal().await;
    end(&cluster, load).await;
}

/// Whether a server's log contains these words.
fn says(cluster: &Cluster, server: usize, words: &str) -> bool {
    std::fs::read_to_string(cluster.log(server)).unwrap().contains(words)
}

/// Guards the retry of a leadership transfer after a full disk, when the other servers cannot take
/// over at first.
#[tokio::test]
async fn a_leader_whose_disk_is_full_tries_again_to_hand_over() {
    // With short timeouts a busy machine would depose the leader before its disk is full.
    let calm = ["--election-timeout-min=3s", "--election-timeout-max=6s"];
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, SMALL, calm[0], calm[1]]);
    let leader = cluster.leader().await;
    let mut plan = Plan::default();
    plan.of(leader).disk.full = true;
    let others: Vec<usize> = cluster.ids().filter(|id| *id != leader).collect();
    // With a stalled disk a follower can neither acknowledge nor vote.
    for id in &others {
        plan.of(*id).disk.stalled = true;
    }
    cluster.apply(&plan).await;
    let filler = "v".repeat(100_000);
    // Enough writes to notice the full disk: no further segment can be made. Each write is durable
    // before the next, because together they would need a segment that does not fit.
    let mut writing = JoinSet::new();
    for _ in 0..14 {
        let before = cluster.status(leader).await.unwrap().last_index;
        let (address, filler) = (cluster.address(leader), filler.clone());
        writing.spawn(async move {
            drop(try_send("PUT", &address, "/kv/filler", &[], Bytes::from(filler)).await);
        });
        eventually("the leader has it, or its disk is full", async || {
            let status = cluster.status(leader).await?;
            let has_it = status.last_index > before && status.durable_index == status.last_index;
            (has_it || says(&cluster, leader, "the disk is full")).then_some(())
        })
        .await;
    }
    eventually("the transfer fails", async || {
        says(&cluster, leader, "leadership was not transferred").then_some(())
    })
    .await;
    assert_eq!(cluster.status(leader).await.unwrap().role, RoleName::Leader);
    for id in &others {
        plan.of(*id).disk.stalled = false;
    }
    cluster.apply(&plan).await;
    eventually("another one leads", async || {
        let status = cluster.status(leader).await?;
        status.leader.filter(|place| place.id.0 != leader as u64)
    })
    .await;
    writing.shutdown().await;
}

/// A file system in memory, unmounted on drop.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(at: &Path, bytes: u64) -> Result<Self, String> {
        std::fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(at);
        let output = mount.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a server that has not ended yet must not prevent it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Guards pitfall 39 on a real file system that another program fills, for all servers at once.
/// Writes are refused, reads succeed, and with free space writes succeed again. No acknowledged
/// write is lost, even if a server is killed while the disk is full.
#[tokio::test]
async fn pitfall_39_a_small_disk_that_others_fill() {
    let directory = tempfile::tempdir().unwrap();
    let disk = match Tmpfs::mount(&directory.path().join("disk"), 32 << 20) {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: no tmpfs can be mounted here: {why}");
            return;
        }
    };
    let inside = tempfile::tempdir_in(&disk.0).unwrap();
    let arguments = [SMALL, "--keep-free-bytes=4194304", CALM[0], CALM[1]];
    let mut cluster = Cluster::prepare_in(inside, 3, &arguments);
    cluster.start_all();
    let mut leader = cluster.leader().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let statvfs = rustix::fs::statvfs(&disk.0).unwrap();
    let free = statvfs.f_bavail * statvfs.f_frsize;
    let foreign = disk.0.join("foreign");
    std::fs::write(&foreign, vec![0; usize::try_from(free - (2 << 20)).unwrap()]).unwrap();
    refuses_writes_but_reads(&cluster, leader).await;
    cluster.kill(leader);
    cluster.spawn(leader);
    leader = cluster.leader().await;
    refuses_writes_but_reads(&cluster, leader).await;
    std::fs::remove_file(&foreign).unwrap();
    load.more_writes(50).await;
    end(&cluster, load).await;
}

/// Guards against a corrupting disk (pitfall 33): at its start a server finds a flipped bit in its
/// log. It reports file, position and remedy, and that remedy works.
#[tokio::test]
async fn a_flipped_bit_is_named_and_the_remedy_works() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader().await;
    let damaged = cluster.follower().await;
    let load = load(&cluster);
    cluster.any_client().put(b"x", Bytes::from_static(b"NEEDLE")).await.unwrap();
    load.more_writes(50).await;
    cluster.signal(damaged, Signal::TERM);
    assert!(cluster.ended(damaged).await.success());
    let segment = cluster.data(damaged).join("00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    let place = bytes.windows(6).position(|it| it == b"NEEDLE").expect("in the first segment");
    bytes[place] ^= 4;
    std::fs::write(&segment, bytes).unwrap();
    let before = std::fs::read_to_string(cluster.log(damaged)).unwrap().len();
    cluster.spawn(damaged);
    assert!(!cluster.ended(damaged).await.success(), "it started on a damaged log");
    let log = std::fs::read_to_string(cluster.log(damaged)).unwrap();
    let told = &log[before..];
    for word in [segment.to_str().unwrap(), "damaged at byte", "glassraft member remove"] {
        assert!(told.contains(word), "{word} is missing: {told}");
    }

    let member = async |arguments: &[&str]| {
        let mut command = program();
        command.arg("member").args(arguments).args(["--timeout=20s", "--endpoints"]);
        command.arg(cluster.address(leader).to_string());
        let output = run_to_end(command).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    member(&["remove", &damaged.to_string()]).await;
    let place = cluster.member(damaged);
    cluster.wipe(damaged);
    cluster.spawn(damaged);
    let mut command = program();
    command.args(["member", "add", &place, "--timeout=20s", "--endpoints"]);
    command.arg(cluster.address(leader).to_string());
    let output = run_to_end(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    load.more_writes(50).await;
    let read = Client::new(vec![cluster.address(damaged)], std::time::Duration::from_secs(5));
    let read = read.get(b"x", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"NEEDLE")));
    end(&cluster, load).await;
}

/// The server's snapshots in a directory, oldest first.
fn snapshots(directory: &Path) -> Vec<PathBuf> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        names.filter(|path| path.extension().is_some_and(|it| it == "snapshot")).collect();
    found.sort();
    found
}

async fn end_of(cluster: &mut Cluster, id: usize) {
    cluster.signal(id, Signal::TERM);
    assert!(cluster.ended(id).await.success());
}

/// The log of a server that refuses to start.
async fn refusal_to_start(cluster: &mut Cluster, id: usize) -> String {
    let before = std::fs::read_to_string(cluster.log(id)).unwrap().len();
    cluster.spawn(id);
    assert!(!cluster.ended(id).await.success(), "it started");
    std::fs::read_to_string(cluster.log(id)).unwrap().split_off(before)
}

/// Guards a young cluster whose snapshots are damaged or missing: its log has every change, but not
/// the members. The server does not start without members, deletes nothing, and starts once the
/// files are restored.
#[tokio::test]
async fn snapshots_that_cannot_be_read_stop_the_start_and_stay() {
    let mut cluster = Cluster::start_with(1, &[]);
    cluster.leader().await;
    cluster.client(1).put(b"k", Bytes::from_static(b"1")).await.unwrap();
    let address = cluster.address(1);
    assert_eq!(send("POST", &address, "/cluster/snapshot", &[], "").await.status, 200);
    let data = cluster.data(1);
    eventually("there are two snapshots", async || (snapshots(&data).len() == 2).then_some(()))
        .await;
    eventually("the newest is saved", async || {
        (cluster.status(1).await?.snapshot_index.0 > 0).then_some(())
    })
    .await;
    end_of(&mut cluster, 1).await;
    let paths = snapshots(&data);
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let damaged: Vec<Vec<u8>> = whole
        .iter()
        .map(|bytes| {
            let (mut bytes, middle) = (bytes.clone(), bytes.len() / 2);
            bytes[middle] ^= 1;
            bytes
        })
        .collect();
    for (path, bytes) in paths.iter().zip(&damaged) {
        std::fs::write(path, bytes).unwrap();
    }
    for _ in 0..2 {
        let told = refusal_to_start(&mut cluster, 1).await;
        for word in [paths[1].to_str().unwrap(), "is damaged at byte", "glassraft restore"] {
            assert!(told.contains(word), "{word} is missing: {told}");
        }
        let found: Vec<Vec<u8>> =
            snapshots(&data).iter().map(|path| std::fs::read(path).unwrap()).collect();
        assert_eq!(found, damaged, "the files are as they were");
    }
    for path in &paths {
        std::fs::remove_file(path).unwrap();
    }
    let told = refusal_to_start(&mut cluster, 1).await;
    assert!(told.contains("the snapshots are gone"), "{told}");
    // One of the two is enough, and the damaged file is kept under another name.
    std::fs::write(&paths[0], &whole[0]).unwrap();
    std::fs::write(&paths[1], &damaged[1]).unwrap();
    cluster.spawn(1);
    cluster.leader().await;
    let read = cluster.client(1).get(b"k", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(Bytes::from_static(b"1")));
    let aside = PathBuf::from(format!("{}.damaged", paths[1].display()));
    assert_eq!(std::fs::read(aside).unwrap(), damaged[1]);
}

/// Guards against cleanup tools: the server recreates missing spare files, and a missing older
/// snapshot is not a disk failure.
#[tokio::test]
async fn files_that_a_cleaner_removes_are_made_again() {
    let mut cluster = Cluster::start_with(1, &[SMALL]);
    cluster.leader().await;
    let (data, client, address) = (cluster.data(1), cluster.client(1), cluster.address(1));
    let value = Bytes::from(vec![b'v'; 100_000]);
    let (mut removed, mut older_removed) = (0, 0);
    for _ in 0..4 {
        for entry in std::fs::read_dir(&data).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "tmp") || path.ends_with("lock") {
                // The server may have used or removed it meanwhile.
                removed += u32::from(std::fs::remove_file(path).is_ok());
            }
        }
        if let [older, _] = &*snapshots(&data) {
            std::fs::remove_file(older).unwrap();
            older_removed += 1;
        }
        for _ in 0..30 {
            client.put(b"k", value.clone()).await.unwrap();
        }
        let before = cluster.status(1).await.unwrap().snapshot_index;
        assert_eq!(send("POST", &address, "/cluster/snapshot", &[], "").await.status, 200);
        eventually("a snapshot is saved", async || {
            (cluster.status(1).await?.snapshot_index > before).then_some(())
        })
        .await;
    }
    assert!(removed >= 6 && older_removed >= 2, "{removed} and {older_removed} were removed");
    let second = cluster.command(1);
    let output = run_to_end(second).await;
    assert!(!output.status.success(), "two servers in one directory");
    end_of(&mut cluster, 1).await;
    cluster.spawn(1);
    cluster.leader().await;
    let read = cluster.client(1).get(b"k", Consistency::Linearizable).await.unwrap();
    assert_eq!(read, Some(value));
}

/// Guards the way out of a disk that the server's own data fills: deletes succeed, snapshots find
/// space, and writes succeed again. Failed snapshots are not retried without pause.
#[tokio::test]
async fn a_disk_that_its_own_data_fills_has_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let disk = match Tmpfs::mount(&directory.path().join("disk"), 64 << 20) {
        Ok(disk) => disk,
        Err(why) => {
            println!("skipped: no tmpfs can be mounted here: {why}");
            return;
        }
    };
    let inside = tempfile::tempdir_in(&disk.0).unwrap();
    let arguments = [SMALL, "--keep-free-bytes=1048576", CALM[0], CALM[1]];
    let mut cluster = Cluster::prepare_in(inside, 1, &arguments);
    cluster.start_all();
    cluster.leader().await;
    let address = cluster.address(1);
    let value = "v".repeat(100_000);
    let mut keys = 0;
    let put =
        async |key: u32| send("PUT", &address, &format!("/kv/key-{key}"), &[], value.clone()).await;
    // Each key is retried for a while: a snapshot that frees space may be under way.
    'fill: loop {
        assert!(keys < 1000, "more than the disk holds");
        for _ in 0..50 {
            let answer = put(keys).await;
            if answer.status == 200 {
                keys += 1;
                continue 'fill;
            }
            answer.assert_problem(507, "disk_full");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        break;
    }
    println!("{keys} keys of 100 kB filled the disk of 64 MiB");
    assert!(keys >= 140, "a state of 14 MB is little for this disk: {keys} keys");
    let status = cluster.status(1).await.unwrap();
    assert_eq!(status.state.keys, u64::from(keys));
    for key in 0..keys {
        let answer = send("DELETE", &address, &format!("/kv/key-{key}"), &[], "").await;
        assert_eq!(answer.status, 200, "key {key} of {keys}");
    }
    eventually("there is room again", async || (put(0).await.status == 200).then_some(())).await;
    for key in 1..100 {
        eventually("writes go on", async || (put(key).await.status == 200).then_some(())).await;
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    let failures = log.lines().filter(|line| line.contains("snapshot not saved")).count();
    assert!(failures <= 4, "{failures} failures are told of");
    end_of(&mut cluster, 1).await;
    cluster.spawn(1);
    cluster.leader().await;
    let status = cluster.status(1).await.unwrap();
    assert_eq!(status.state.keys, 100);
}

/// Guards a server with few file descriptors against clients that take them all: it reserves those
/// that its log needs, and continues.
#[tokio::test]
async fn connections_leave_the_descriptors_that_the_log_needs() {
    // The disk of a busy machine is slow; its leader is to lead on.
    let mut cluster = Cluster::prepare(1, &[SMALL, "--election-timeout-max=3s"]);
    cluster.limit(1, Limits { files: Some(200), group: None });
    cluster.start_all();
    cluster.leader().await;
    let (client, address) = (cluster.client(1), cluster.address(1).to_string());
    let value = Bytes::from(vec![b'v'; 100_000]);
    // The client connects before the others take the remaining descriptors.
    client.put(b"k", value.clone()).await.unwrap();
    let mut idle = Vec::new();
    for _ in 0..260 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let segment = |cluster: &Cluster| cluster.data(1).join("00000000000000000008.log").exists();
    let mut put = 0;
    while !segment(&cluster) {
        assert!(!cluster.has_ended(1), "it ended: {}", cluster.log(1).display());
        assert!(put < 200, "the log goes on in new files");
        put += u32::from(client.put(b"k", value.clone()).await.is_ok());
    }
    drop(idle);
    let fresh = Client::new(vec![cluster.address(1)], std::time::Duration::from_secs(5));
    eventually("new connections get in", async || {
        fresh.get(b"k", Consistency::Linearizable).await.ok()
    })
    .await;
    end_of(&mut cluster, 1).await;
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(log.contains("client connections instead of"), "it says what it makes of the limit");
}

/// Guards a server that reaches its file size limit (`ulimit -f`): it ends with an error message,
/// not by a signal.
#[tokio::test]
async fn a_limit_on_the_size_of_files_is_told() {
    let mut cluster = Cluster::start_with(1, &[SMALL]);
    cluster.leader().await;
    let (pid, server) = (cluster.pid(1), cluster.address(1));
    let limit = Rlimit { current: Some(20_000), ..getrlimit(Resource::Fsize) };
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Fsize, limit).unwrap();
    let value = Bytes::from(vec![b'v'; 60_000]);
    // The outcome does not matter.
    drop(try_send("PUT", &server, "/kv/k", &[], value).await);
    let ended = cluster.ended(1).await;
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(ended.code() == Some(1) && log.contains("File too large"), "{ended}: {log}");
}

/// Guards a server with few file descriptors against silent connections to both its ports that are
/// reopened when cut. It never runs out of descriptors, and answers health checks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_to_both_ports_leave_descriptors() {
    let mut cluster = Cluster::prepare(1, &[]);
    cluster.limit(1, Limits { files: Some(140), group: None });
    cluster.start_all();
    cluster.leader().await;
    let address = cluster.address(1);
    let mut silent = JoinSet::new();
    for to in [address.to_string(), cluster.peer_address(1).to_string()] {
        for _ in 0..100 {
            let to = to.clone();
            silent.spawn(async move {
                loop {
                    let Ok(mut stream) = TcpStream::connect(&to).await else { continue };
                    // Until it is cut.
                    drop(stream.read(&mut [0]).await);
                }
            });
        }
    }
    counted(&cluster, "busy").await;
    let (mut answered, mut failed) = (0, Vec::new());
    while answered < 50 {
        match try_send("GET", &address, "/livez", &[], Bytes::new()).await {
            Ok(answer) if answer.status == 200 => answered += 1,
            other => failed.push(other.map(|it| it.status)),
        }
        // On a busy machine a few connections are closed before they send their request.
        assert!(failed.len() <= 5, "{answered} answers: {failed:?}");
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    assert!(!log.contains("Too many open files"), "{log}");
    silent.shutdown().await;
    end_of(&mut cluster, 1).await;
}

/// Guards a server whose data directory is removed while it runs: it ends and names the directory.
#[tokio::test]
async fn a_data_directory_that_vanishes_ends_the_server() {
    let mut cluster = Cluster::start_with(1, &[SMALL]);
    cluster.leader().await;
    let (data, client) = (cluster.data(1), cluster.client(1));
    client.put(b"k", Bytes::from_static(b"1")).await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    let value = Bytes::from(vec![b'v'; 100_000]);
    let mut tries = 0;
    while !cluster.has_ended(1) {
        assert!(tries < 100, "it writes to nowhere");
        tries += 1;
        // The outcome does not matter.
        drop(client.put(b"k", value.clone()).await);
    }
    let log = std::fs::read_to_string(cluster.log(1)).unwrap();
    let told = format!("{} is missing although this server uses it", data.display());
    assert!(log.contains(&told), "{log}");
}
