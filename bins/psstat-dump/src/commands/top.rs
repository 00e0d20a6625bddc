//! `top`.

use std::io::IsTerminal as _;

use super::{images, source};
use crate::args::{ConfArgs, Format, GlobalArgs, TopArgs};
use crate::exit::{Error, Outcome};
use crate::measure::Measurer;
use crate::selector::Selector;
use crate::table::columns::{self, Column, Level};
use crate::top::playback::Playback;
use crate::top::player::Player;
use crate::top::{App, screen};

pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &TopArgs) -> Result<Outcome, Error> {
    if global.format() != Format::Text {
        return Err(Error::Usage(
            "top needs a terminal; use --interval with --json or --csv".to_owned(),
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::Usage("top needs a terminal; use --interval without one".to_owned()));
    }
    let columns: Vec<&'static Column> = args
        .columns
        .iter()
        .map(|key| images::find_column(key, Level::Image))
        .collect::<Result<_, _>>()?;
    if global.replay.is_some() {
        return replay(global, args, &columns);
    }
    let source = source::load(conf, &args.patterns, args.no_conf)?;
    let selector = Selector::new(source, &args.images, &global.proc, args.ancestors);
    let measurer = Measurer::new(
        &global.proc,
        args.interval,
        selector,
        columns::groups(columns.iter().copied()),
    )?;
    screen::run(measurer, App::with_columns(global.proc.clone(), &columns))?;
    Ok(Outcome::Match)
}

fn replay(
    global: &GlobalArgs,
    args: &TopArgs,
    columns: &[&'static Column],
) -> Result<Outcome, Error> {
    if !args.patterns.is_empty() || args.no_conf {
        return Err(Error::Usage(
            "--regex and --no-conf cannot be used with --replay: a recording has the images that \
             were recorded"
                .to_owned(),
        ));
    }
    let recording = super::replay::open(global)?;
    let frame = super::replay::frame_at(global, &recording)?.unwrap_or(0);
    let mut app = App::with_columns(global.proc.clone(), columns);
    app.playback = Some(Playback::default());
    let mut player = Player::new(recording, args.images.clone(), frame);
    player.jump(&mut app, frame);
    screen::run_with(&mut player, app)?;
    Ok(Outcome::Match)
}
