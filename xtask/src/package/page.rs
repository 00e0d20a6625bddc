//! The commands of docs/install.md.

use crate::Result;
use crate::cargo;

/// A section of the page.
#[derive(Debug)]
pub(crate) struct Section {
    /// The heading.
    pub(crate) heading: String,
    /// The blocks of shell commands, in order.
    pub(crate) blocks: Vec<String>,
}

/// All sections in the order of the page.
pub(crate) fn sections() -> Result<Vec<Section>> {
    Ok(parse(&std::fs::read_to_string(cargo::root().join("docs/install.md"))?))
}

fn parse(page: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines() {
        match &mut block {
            Some(text) if line == "```" => {
                if let Some(section) = sections.last_mut() {
                    section.blocks.push(std::mem::take(text));
                }
                block = None;
            }
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line == "```sh" => block = Some(String::new()),
            None => {
                if let Some(heading) = line.strip_prefix("## ") {
                    sections.push(Section { heading: heading.to_owned(), blocks: Vec::new() });
                }
            }
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_assigned_to_sections() {
        let sections =
            parse("# P\n## A\n```sh\na\nb\n```\n```\nno\n```\n## B\n## C\n```sh\nc\n```\n");
        let found: Vec<(&str, Vec<&str>)> = sections
            .iter()
            .map(|section| (&*section.heading, section.blocks.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(found, [("A", vec!["a\nb\n"]), ("B", vec![]), ("C", vec!["c\n"])]);
    }
}
