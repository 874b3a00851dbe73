//! CPU time and memory of processes, from `/proc`.

use std::iter::Sum;
use std::time::Duration;

use serde::Serialize;

/// CPU time and memory of one or more processes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// CPU time since the processes started.
    pub cpu: Duration,
    /// Resident memory now, in bytes.
    pub memory: u64,
    /// Peak resident memory, in bytes.
    pub peak_memory: u64,
}

impl Usage {
    /// Usage of a single process; zero if it does not exist.
    pub fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The process name may contain any characters; it ends at the last parenthesis.
        let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let field = |number: usize| -> u64 {
            let mut fields = after_name.split_whitespace();
            fields.nth(number).and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let ticks = field(11) + field(12);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let kilobytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Self {
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            memory: kilobytes("VmRSS:") << 10,
            peak_memory: kilobytes("VmHWM:") << 10,
        }
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            cpu: sum.cpu + it.cpu,
            memory: sum.memory + it.memory,
            peak_memory: sum.peak_memory + it.peak_memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    /// Guards that the right fields are read: this process uses memory and CPU time.
    #[test]
    fn a_process_is_measured() {
        let mut sum = 0_u64;
        let mut usage = Usage::of(std::process::id());
        while usage.cpu.is_zero() {
            sum = std::hint::black_box(sum.wrapping_add(1));
            if sum.is_multiple_of(1 << 20) {
                usage = Usage::of(std::process::id());
            }
        }
        assert!(usage.memory > 1 << 16 && usage.peak_memory >= usage.memory, "{usage:?}");
        assert_eq!(Usage::of(u32::MAX).memory, 0);
    }
}
