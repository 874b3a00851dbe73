//! Hosts of their own on this machine: network namespaces around a router, with real addresses and
//! links that can be unplugged and routes that can be cut, as between machines.
//!
//! ```text
//! this process --- router --- host 1
//!                     |  \--- host 2
//!                     \------ host 3
//! ```

use std::process::Command;

/// See the module. Dropping it removes all of it.
#[derive(Debug)]
pub struct Hosts {
    /// The router's namespace, and what the names of all others begin with.
    name: String,
    /// The first two parts of all addresses.
    network: String,
    count: usize,
    /// Routes that are cut, as the router's rules say it.
    cut: Vec<[String; 2]>,
}

impl Hosts {
    /// Makes so many. Says why if the machine does not allow it.
    pub fn build(count: usize) -> Result<Self, String> {
        let pid = std::process::id();
        let name = format!("gr{}", pid % 1_000_000);
        // Tests that run side by side get different networks, most likely.
        let hosts =
            Self { network: format!("10.{}", 64 + pid % 128), name, count, cut: Vec::new() };
        // From here on dropping it removes what is there already.
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

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// A host's namespace; hosts count from one.
    pub fn namespace(&self, host: usize) -> String {
        format!("{}h{host}", self.name)
    }

    /// A host's address.
    pub fn address(&self, host: usize) -> String {
        format!("{}.{host}.2", self.network)
    }

    /// The router swallows what goes from one host to another.
    pub fn cut_one_way(&mut self, from: usize, to: usize) {
        let (from, to) = (self.address(from), self.address(to));
        self.ip_in_router(&format!("rule add from {from} to {to} blackhole"));
        self.cut.push([from, to]);
    }

    /// The same for what goes back.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Pulls a host's cable.
    pub fn unplug(&self, host: usize) {
        self.ip_in_router(&format!("link set h{host} down"));
    }

    /// All routes and cables are whole again.
    pub fn heal(&mut self) {
        for [from, to] in std::mem::take(&mut self.cut) {
            self.ip_in_router(&format!("rule del from {from} to {to} blackhole"));
        }
        for host in 1..=self.count {
            self.ip_in_router(&format!("link set h{host} up"));
        }
    }

    fn ip_in_router(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name)).expect("the router was built by us");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in 1..=self.count {
            // What was not built yet cannot be removed; links and routes go with their ends.
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
