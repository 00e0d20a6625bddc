//! What libFuzzer says of a run, and the table that it goes into.

/// The table's head, in Markdown as docs/fuzzing.md has it.
pub(super) const HEADER: &str = "\
| target | executions | a second | edges | features | inputs before | found new | kept | bytes | finds |
|---|---|---|---|---|---|---|---|---|---|";

/// What came of a target.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) row: String,
    /// The input for which a property does not hold, as a line of the corpus.
    pub(super) find: Option<String>,
}

/// libFuzzer's counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    executions: u64,
    a_second: u64,
    /// Edges of the program that were taken.
    edges: u64,
    /// Edges, told apart by how often they were taken, and comparisons.
    features: u64,
    /// Inputs that reached something new.
    new: u64,
}

impl Counts {
    /// From libFuzzer's log.
    pub(super) fn read(log: &str) -> Counts {
        let stat = |name: &str| {
            let line = log.lines().rev().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        // "#8192 NEW    cov: 412 ft: 1034 corp: 98/4Kb …"
        let status = log.lines().rev().find(|line| line.contains(" cov: ")).unwrap_or_default();
        let number = |name: &str| {
            let behind = status.split_once(name).map(|(_, behind)| behind);
            behind.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
        };
        Counts {
            executions: stat("stat::number_of_executed_units:"),
            a_second: stat("stat::average_exec_per_sec:"),
            edges: number(" cov: "),
            features: number(" ft: "),
            new: stat("stat::new_units_added:"),
        }
    }

    /// A row of the table; `kept` is what a merge left, if it came to that.
    pub(super) fn row(&self, name: &str, before: usize, kept: Option<&[Vec<u8>]>) -> String {
        let Counts { executions, a_second, edges, features, new } = self;
        let (inputs, bytes, finds) = match kept {
            Some(kept) => {
                let bytes: usize = kept.iter().map(Vec::len).sum();
                (kept.len().to_string(), bytes.to_string(), 0)
            }
            None => ("-".to_owned(), "-".to_owned(), 1),
        };
        format!(
            "| {name} | {executions} | {a_second} | {edges} | {features} | {before} | {new} | \
             {inputs} | {bytes} | {finds} |"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        let log = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb\n\
            #9\tNEW    cov: 40 ft: 51 corp: 2/2b lim: 4 exec/s: 0 rss: 30Mb\n\
            #99\tDONE   cov: 412 ft: 1034 corp: 98/4Kb lim: 4 exec/s: 9 rss: 30Mb\n\
            stat::number_of_executed_units: 99\nstat::average_exec_per_sec:     9\n\
            stat::new_units_added:          17\n";
        let counts = Counts { executions: 99, a_second: 9, edges: 412, features: 1034, new: 17 };
        assert_eq!(Counts::read(log), counts);
        assert_eq!(
            counts.row("io", 5, Some(&[b"abc".to_vec(), b"d".to_vec()])),
            "| io | 99 | 9 | 412 | 1034 | 5 | 17 | 2 | 4 | 0 |"
        );
    }
}
