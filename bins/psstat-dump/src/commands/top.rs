//! `top`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use super::{images, source};
use crate::args::{ConfArgs, Format, GlobalArgs, TopArgs};
use crate::exit::{Error, Outcome};
use crate::measure::Measurer;
use crate::selector::Selector;
use crate::table::columns::Level;
use crate::top::live::Live;
use crate::top::playback::Playback;
use crate::top::player::Player;
use crate::top::settings::{self, Settings};
use crate::top::theme::Theme;
use crate::top::{App, screen};

/// The length of a window without an option or a setting.
const WINDOW: Duration = Duration::from_secs(1);

pub(super) fn run(global: &GlobalArgs, conf: &ConfArgs, args: &TopArgs) -> Result<Outcome, Error> {
    if global.format() != Format::Text {
        return Err(Error::Usage(
            "top needs a terminal; use --interval with --json or --csv".to_owned(),
        ));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Error::Usage("top needs a terminal; use --interval without one".to_owned()));
    }
    if global.replay.is_some() {
        return replay(global, args);
    }
    let mut app = app(global, args)?;
    app.interval = args.interval.or(app.settings.interval).unwrap_or(WINDOW);
    let source = source::load(conf, &args.patterns, args.no_conf)?;
    let (proc, images, ancestors) = (global.proc.clone(), args.images.clone(), args.ancestors);
    let interval = app.interval;
    let mut live = Live::start(&app, move |groups| {
        let selector = Selector::new(source, &images, &proc, ancestors);
        let mut measurer = Measurer::new(&proc, interval, selector, groups)?;
        measurer.set_owners();
        Ok(measurer)
    })?;
    screen::run(&mut live, app)?;
    Ok(Outcome::Match)
}

/// The view with the settings of the user and the options.
fn app(global: &GlobalArgs, args: &TopArgs) -> Result<App, Error> {
    let mut app = App::new(global.proc.clone());
    app.settings_file = settings::path(|name| std::env::var_os(name).map(PathBuf::from));
    if let Some(path) = &app.settings_file {
        app.settings = Settings::read(path).map_err(Error::Usage)?;
    }
    let (mut of_images, mut of_processes) = (Vec::new(), Vec::new());
    for name in &args.columns {
        let find = |level| images::find_column(name, level).map(|column| column.key);
        match (find(Level::Image), find(Level::Process)) {
            (Err(error), Err(_)) => return Err(error),
            (image, process) => {
                of_images.extend(image);
                of_processes.extend(process);
            }
        }
    }
    let settings = &mut app.settings;
    if !of_images.is_empty() {
        settings.image_columns = of_images;
    }
    if !of_processes.is_empty() {
        settings.process_columns = of_processes;
    }
    settings.mouse &= !args.no_mouse;
    settings.signals &= !args.no_signals;
    app.theme = Theme::detect(global.color, args.ascii, |name| std::env::var(name).ok());
    Ok(app)
}

fn replay(global: &GlobalArgs, args: &TopArgs) -> Result<Outcome, Error> {
    if !args.patterns.is_empty() || args.no_conf {
        return Err(Error::Usage(
            "--regex and --no-conf cannot be used with --replay: a recording has the images that \
             were recorded"
                .to_owned(),
        ));
    }
    let recording = super::replay::open(global)?;
    let frame = super::replay::frame_at(global, &recording)?.unwrap_or(0);
    let mut app = app(global, args)?;
    app.playback = Some(Playback::default());
    let mut player = Player::new(recording, args.images.clone(), frame);
    player.jump(&mut app, frame);
    screen::run(&mut player, app)?;
    Ok(Outcome::Match)
}
