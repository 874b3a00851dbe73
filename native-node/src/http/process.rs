//! Standard process metrics, under the names of Prometheus' client libraries, on systems that have
//! `/proc`.

use std::fs::read_to_string;

/// The figures of this process; `None` where a figure cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ProcessFigures {
    /// CPU time, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// When the process started, in seconds since 1970.
    pub(super) start_time: Option<f64>,
    /// Resident memory, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Virtual memory, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// The limit of open file descriptors.
    pub(super) max_fds: Option<u64>,
}

impl ProcessFigures {
    pub(super) fn now() -> Self {
        let stat = read_to_string("/proc/self/stat").unwrap_or_default();
        let boot = read_to_string("/proc/stat").unwrap_or_default();
        let limits = read_to_string("/proc/self/limits").unwrap_or_default();
        let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let open_fds = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64);
        let figures = Self::of_stat(&stat, boot, rustix::param::clock_ticks_per_second());
        Self { open_fds, max_fds: max_fds(&limits), ..figures }
    }

    /// Parses the line of `/proc/self/stat`; see proc(5) for its fields. `boot` is the machine's
    /// boot time, and `ticks` is the number of its units per second.
    fn of_stat(stat: &str, boot: Option<u64>, ticks: u64) -> Self {
        // The program's name is in parentheses and may contain anything.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let fields: Vec<&str> = after.split_whitespace().collect();
        // The third field is the first after the name.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |value: Option<u64>| Some(to_seconds(value?, ticks));
        let in_user = field(14);
        let in_kernel = field(15);
        Self {
            cpu_seconds: seconds(in_user.zip(in_kernel).map(|(user, kernel)| user + kernel)),
            start_time: seconds(field(22))
                .zip(boot)
                .map(|(after, boot)| to_seconds(boot, 1) + after),
            resident_bytes: field(24).map(|pages| pages * rustix::param::page_size() as u64),
            virtual_bytes: field(23),
            threads: field(20),
            ..Self::default()
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times are far below 2^52 units")]
fn to_seconds(value: u64, units: u64) -> f64 {
    value as f64 / units.max(1) as f64
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the fields are found, even if the program's name looks like fields.
    #[test]
    fn a_line_of_the_system_is_read() {
        let line = "42 (a ) 1 2) S 1 42 42 0 -1 4194560 900 0 3 0 150 50 0 0 20 0 7 0 1000 \
            123456789 2048 18446744073709551615 1 1 0 0";
        let figures = ProcessFigures::of_stat(line, Some(1_700_000_000), 100);
        assert_eq!(figures.cpu_seconds, Some(2.0));
        assert_eq!(figures.start_time, Some(1_700_000_010.0));
        assert_eq!(figures.threads, Some(7));
        assert_eq!(figures.virtual_bytes, Some(123_456_789));
        assert_eq!(figures.resident_bytes, Some(2048 * rustix::param::page_size() as u64));
        assert_eq!(ProcessFigures::of_stat("", None, 100), ProcessFigures::default());
        assert_eq!(
            max_fds("Max open files            1024                 4096  files"),
            Some(1024)
        );
        assert_eq!(
            max_fds("Max open files            unlimited            unlimited  files"),
            None
        );
    }
}
