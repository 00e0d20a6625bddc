//! Prints the images of one command line: `match_line CONF ARGUMENT…`.
use psstat_matcher::{Conf, MatchCache};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let conf = Conf::parse(&std::fs::read(args.next().ok_or("usage: match_line CONF ARGUMENT…")?)?);
    let line = args.collect::<Vec<_>>().join(" ");
    for found in conf.rules.matches(line.as_bytes(), &mut MatchCache::default()) {
        println!("{}", found.name);
    }
    Ok(())
}
