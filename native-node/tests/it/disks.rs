//! Disks that hang, are full or lie, under servers that clients use meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use native_node::client::Client;
use native_node::http::request::Consistency;
use rustix::process::Signal;
use testbed::faults::{ALLOW_FAULTS, Plan};
use testbed::load::{Load, judge};

use crate::cluster::{CALM, Cluster, eventually, program, run_to_end};
use crate::http::send;

/// Segments of a mebibyte, so that little is needed to fill them.
const SMALL: &str = "--segment-bytes=1048576";

fn load(cluster: &Cluster) -> Load {
    let servers: Vec<_> = cluster.ids().map(|id| cluster.address(id)).collect();
    Load::start(4, &servers)
}

async fn end(cluster: &Cluster, load: Load) {
    judge(load.finish().await, &cluster.any_client()).await;
    cluster.converged().await;
}

/// Guards pitfall 32 among real processes: heartbeats alone do not keep a leader in office whose
/// disk hangs; and such a server can be told to end all the same.
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

/// Guards everybody else against one disk that hangs: it costs its server's lag.
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

/// Waits until the leader refuses writes for want of space, and checks that it reads all the same.
async fn refuses_writes_but_reads(cluster: &Cluster, leader: usize) {
    let address = cluster.address(leader);
    let value = "v".repeat(100_000);
    let full = eventually("the disk is said to be full", async || {
        let answer = send("PUT", &address, "/kv/filler", &[], value.clone()).await;
        // Nobody may lead for a moment after a restart.
        (answer.status != 200 && answer.status != 503).then_some(answer)
    })
    .await;
    full.assert_problem(507, "disk_full");
    for consistency in [Consistency::Linearizable, Consistency::Stale] {
        let read = cluster.client(leader).get(b"filler", consistency).await.unwrap();
        assert_eq!(read.map(|value| value.len()), Some(100_000));
    }
}

/// Guards pitfall 39 with injected full disks: refused clearly, reads go on, and it recovers by
/// itself.
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

/// Guards availability where one disk of three is full: the leader's. Another one leads, takes
/// writes while it stays full, and brings the server up to date when there is room again.
#[tokio::test]
async fn a_leader_whose_disk_is_full_hands_over() {
    let cluster = Cluster::start_with(3, &[ALLOW_FAULTS, SMALL, CALM[0], CALM[1]]);
    let leader = cluster.leader().await;
    let load = load(&cluster);
    load.more_writes(50).await;
    let mut plan = Plan::default();
    plan.of(leader).disk.full = true;
    cluster.apply(&plan).await;
    // The disk's fill is noticed with the next segment.
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

/// A file system in memory, gone with this.
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
        // Lazily: a server that ends a moment later must not keep it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Guards pitfall 39 on a real file system without room, for all servers at once: somebody else
/// fills the disk, writes are refused, reads go on, and with room again all goes on; nothing that
/// was acknowledged is lost, also by servers that are killed while the disk is full.
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

/// Guards against a lie of the disk (pitfall 33): a flipped bit in the log of a stopped server is
/// found when it starts, told with file, place and remedy, and the remedy as it stands there works.
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
    for word in [segment.to_str().unwrap(), "damaged at byte", "native-node member remove"] {
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
