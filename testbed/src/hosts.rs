//! Simulated hosts on this machine: network namespaces around a router. They have real addresses,
//! links that can be unplugged, and routes that can be cut, like separate machines.
//!
//! ```text
//! this process --- router --- host 1
//!                     |  \--- host 2
//!                     \------ host 3
//! ```

use std::process::Command;

/// The hosts and their router. Dropping it removes all of them.
#[derive(Debug)]
pub struct Hosts {
    /// The router's namespace, and the prefix of all other namespaces.
    name: String,
    /// The first two octets of all addresses.
    network: String,
    count: usize,
    /// Cut routes, as from and to addresses.
    cut: Vec<[String; 2]>,
}

impl Hosts {
    /// Creates `count` hosts.
    ///
    /// # Errors
    /// When the machine does not allow it, with the failed command.
    pub fn build(count: usize) -> Result<Self, String> {
        let pid = std::process::id();
        let name = format!("gr{}", pid % 1_000_000);
        // Concurrent test processes most likely get different networks.
        let hosts =
            Self { network: format!("10.{}", 64 + pid % 128), name, count, cut: Vec::new() };
        // If a step below fails, dropping `hosts` removes what exists already.
        hosts.build_router()?;
        for host in 1..=count {
            hosts.build_host(host)?;
        }
        Ok(hosts)
    }

    fn build_router(&self) -> Result<(), String> {
        let Self { name, network, .. } = self;
        ip(&format!("netns add {name}"))?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run(Command::new("ip").args(["netns", "exec", name, "sh", "-c", forward]))?;
        ip(&format!("link add {name} type veth peer name uplink netns {name}"))?;
        ip(&format!("addr add {network}.0.2/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        ip(&format!("-n {name} addr add {network}.0.1/24 dev uplink"))?;
        ip(&format!("-n {name} link set uplink up"))?;
        ip(&format!("route add {network}.0.0/16 via {network}.0.1"))
    }

    fn build_host(&self, host: usize) -> Result<(), String> {
        let (router, network, own) = (&self.name, &self.network, self.namespace(host));
        ip(&format!("netns add {own}"))?;
        ip(&format!("-n {router} link add h{host} type veth peer name eth0 netns {own}"))?;
        ip(&format!("-n {router} addr add {network}.{host}.1/24 dev h{host}"))?;
        ip(&format!("-n {router} link set h{host} up"))?;
        ip(&format!("-n {own} addr add {}/24 dev eth0", self.address(host)))?;
        ip(&format!("-n {own} link set lo up"))?;
        ip(&format!("-n {own} link set eth0 up"))?;
        ip(&format!("-n {own} route add default via {network}.{host}.1"))
    }

    /// Number of hosts.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// A host's namespace; hosts are numbered from one.
    pub fn namespace(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    /// A host's address.
    pub fn address(&self, host: usize) -> String {
        format!("{}.{host}.2", self.network)
    }

    /// Makes the router drop packets from one host to another.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        let (from, to) = (self.address(from), self.address(to));
        self.ip_in_router(&format!("rule add from {from} to {to} blackhole"));
        self.cut.push([from, to]);
    }

    /// Makes the router drop packets between two hosts in both directions.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Disconnects a host.
    pub fn unplug(&self, host: usize) {
        self.ip_in_router(&format!("link set h{host} down"));
    }

    /// Restores all routes and reconnects all hosts.
    pub fn heal(&mut self) {
        for [from, to] in std::mem::take(&mut self.cut) {
            self.ip_in_router(&format!("rule del from {from} to {to} blackhole"));
        }
        for host in 1..=self.count {
            self.ip_in_router(&format!("link set h{host} up"));
        }
    }

    fn ip_in_router(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name)).expect("the router exists");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 1..=self.count {
            // Ignore errors for hosts that were not created. Links and routes disappear with their
            // namespaces.
            drop(ip(&format!("netns del {}", self.namespace(host))));
        }
        drop(ip(&format!("netns del {}", self.name)));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run(Command::new("ip").args(arguments.split_whitespace()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
