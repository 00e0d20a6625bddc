//! `report`: a recording as one HTML page, with plots and tables, that needs no network.
//!
//! The page contains uPlot (`uplot/`, MIT license), the script and the style of this directory, and
//! the data as JSON. The data contains untrusted text: in JSON, no character of it can end the
//! element; the script only inserts it as text.

mod collect;
mod data;

use std::time::SystemTime;

use serde_json::Value;

use crate::recording::Recording;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const UPLOT: &str = include_str!("uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("uplot/uPlot.min.css");
const UPLOT_LICENSE: &str = include_str!("uplot/LICENSE");

/// The page of the windows from one time to another. `None` if there is no window.
pub(crate) fn page(recording: &mut Recording, from: SystemTime, to: SystemTime) -> Option<String> {
    let data = data::data(recording, from, to)?;
    let parts = [
        ("{{UPLOT_LICENSE}}", UPLOT_LICENSE),
        ("{{UPLOT_STYLE}}", UPLOT_STYLE),
        ("{{UPLOT}}", UPLOT),
        ("{{STYLE}}", STYLE),
        ("{{SCRIPT}}", SCRIPT),
        ("{{DATA}}", &in_element(&data)),
    ];
    // The data comes last, since it could contain the name of a part.
    let mut rest = PAGE;
    let mut page = String::new();
    while let Some((at, (name, text))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|found| found.0)
    {
        page.push_str(rest.get(..at)?);
        page.push_str(text);
        rest = rest.get(at + name.len()..)?;
    }
    page.push_str(rest);
    Some(page)
}

/// JSON for the inside of an element: characters that HTML or scripts interpret are escaped.
fn in_element(data: &Value) -> String {
    let mut text = String::new();
    for character in data.to_string().chars() {
        match character {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_its_element() {
        let hostile = "</script><!--<script>&\u{2028}\u{2029}\"\\{{SCRIPT}}";
        let text = in_element(&serde_json::json!({ hostile: hostile }));
        assert!(!text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back[hostile], hostile);
    }

    #[test]
    fn page_is_complete() {
        for (name, count) in [
            ("{{UPLOT_LICENSE}}", 1),
            ("{{UPLOT_STYLE}}", 1),
            ("{{UPLOT}}", 1),
            ("{{STYLE}}", 1),
            ("{{SCRIPT}}", 1),
            ("{{DATA}}", 1),
        ] {
            assert_eq!(PAGE.matches(name).count(), count, "{name}");
        }
        // Nothing is loaded, and nothing of the parts ends an element.
        assert!(PAGE.contains("default-src 'none'"));
        for part in [STYLE, SCRIPT, UPLOT, UPLOT_STYLE, UPLOT_LICENSE] {
            assert!(!part.contains("</") && !part.contains("-->"));
        }
        for part in [STYLE, SCRIPT, UPLOT_STYLE] {
            assert!(!part.contains("http:") && !part.contains("https:"));
        }
    }
}
