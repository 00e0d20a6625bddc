//! Shows the windows of a recording in the live view.

use std::time::{Duration, Instant, SystemTime};

use psstat_matcher::ImageName;

use super::app::App;
use super::history::LENGTH;
use super::playback::Seek;
use super::screen::Feed;
use crate::exit::Error;
use crate::recording::{Frame, Recording};
use crate::time;

/// A recording, and the window that is shown.
#[derive(Debug)]
pub struct Player {
    recording: Recording,
    images: Vec<ImageName>,
    frame: usize,
    /// When the next window is due.
    due: Option<Instant>,
}

impl Player {
    /// Shows only these images, or all, from this frame on.
    pub fn new(recording: Recording, images: Vec<ImageName>, frame: usize) -> Player {
        Player { recording, images, frame, due: None }
    }

    /// Shows a window, with the windows before it as histories.
    pub fn jump(&mut self, app: &mut App, frame: usize) {
        app.clear_histories();
        for before in frame.saturating_sub(LENGTH - 1)..frame {
            self.add(app, before);
        }
        self.frame = frame;
        self.show(app);
    }

    fn add(&mut self, app: &mut App, frame: usize) -> bool {
        let Some(Frame { mut snapshot, .. }) = self.recording.frame(frame) else { return false };
        snapshot.select(&self.images);
        app.set_snapshot(snapshot, Duration::ZERO);
        true
    }

    /// Shows the window of [`frame`](Self::frame), after those before it.
    fn show(&mut self, app: &mut App) {
        let is_readable = self.add(app, self.frame);
        let (frame, count) = (self.frame, self.recording.len());
        let host = self.recording.meta(frame).map_or("", |meta| &meta.host);
        let position = format!("of {host}, window {} of {count}", frame + 1);
        let Some(playback) = &mut app.playback else { return };
        playback.position = position;
        if !is_readable {
            playback.message = "this window is damaged".to_owned();
        }
    }

    fn seek(&mut self, app: &mut App, seek: &Seek) {
        let last = self.recording.len().saturating_sub(1);
        let to = match seek {
            Seek::First => Ok(0),
            Seek::Last => Ok(last),
            Seek::By(frames) => {
                Ok(self.frame.saturating_add_signed(isize::try_from(*frames).unwrap_or(isize::MAX)))
            }
            Seek::Time(text) => self.find(text),
        };
        match to {
            Ok(to) if to.min(last) == self.frame + 1 => {
                self.frame += 1;
                self.show(app);
            }
            Ok(to) => self.jump(app, to.min(last)),
            Err(message) => {
                if let Some(playback) = &mut app.playback {
                    playback.message = message;
                }
            }
        }
    }

    fn find(&self, text: &str) -> Result<usize, String> {
        let last = self.recording.len().saturating_sub(1);
        let end = |frame| self.recording.time(frame).unwrap_or(SystemTime::UNIX_EPOCH);
        let time = time::parse(text.trim(), end(last)).ok_or("not a time")?;
        let begins = || format!("begins at {}", time::format_utc(end(0)));
        self.recording.find(time).ok_or_else(begins)
    }
}

impl Feed for Player {
    fn poll(&mut self, app: &mut App) -> Result<bool, Error> {
        let Some(playback) = &mut app.playback else { return Ok(false) };
        if let Some(seek) = playback.seek.take() {
            playback.message.clear();
            self.due = None;
            self.seek(app, &seek);
            return Ok(true);
        }
        if !playback.playing {
            self.due = None;
            return Ok(false);
        }
        if self.frame + 1 >= self.recording.len() {
            playback.playing = false;
            return Ok(true);
        }
        let interval = self.recording.meta(self.frame).map_or(1.0, |meta| meta.interval);
        let interval = Duration::try_from_secs_f64(interval / f64::from(playback.speed()));
        let interval = interval.unwrap_or(Duration::from_secs(1));
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + interval);
        if due > now {
            return Ok(false);
        }
        // One window at a time: a slow terminal makes it slower.
        self.due = Some(now.max(due + interval));
        self.frame += 1;
        self.show(app);
        Ok(true)
    }
}
