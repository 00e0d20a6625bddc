//! The arguments of `-e`: rules from the command line.

use std::str::FromStr;

use psstat_matcher::{Field, ImageTemplate, PatternError, Rules};

/// The image of a regex without a name.
pub const DEFAULT_IMAGE: &str = "match";

/// An argument of `-e`: `NAME=REGEX`, or a regex alone, which belongs to the image
/// [`DEFAULT_IMAGE`].
///
/// The text before the first `=` is a name if it has only the characters of image names, and groups
/// of the regex in braces, and starts with a letter, a digit, an underscore or a group. So
/// `-Dapp=x` and `/opt/a=b` are regexes. `app\=x` is a regex for the text `app=x`.
///
/// ```
/// use psstat_dump::rule_arg::RuleArg;
///
/// let named: RuleArg = "shop=orders\\.jar$".parse()?;
/// assert_eq!((named.name(), named.regex()), (Some("shop"), "orders\\.jar$"));
/// let of_group: RuleArg = "java/{app}=-Dapp=(?P<app>\\w+)".parse()?;
/// assert_eq!(of_group.name(), Some("java/{app}"));
/// for regex in ["orders", "-Dapp=shop", "app\\=shop", "^a=b"] {
///     assert_eq!(regex.parse::<RuleArg>()?.name(), None);
/// }
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleArg {
    text: String,
    /// Length of the name; `None`: the text is a regex.
    name_length: Option<usize>,
}

impl RuleArg {
    /// The argument.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name before the `=`.
    pub fn name(&self) -> Option<&str> {
        self.text.get(..self.name_length?)
    }

    /// The regex.
    pub fn regex(&self) -> &str {
        let start = self.name_length.map_or(0, |length| length + "=".len());
        self.text.get(start..).unwrap_or_default()
    }

    /// A hint for a user who wanted a regex with `=`: the argument as such a regex.
    pub(crate) fn hint(&self) -> Option<String> {
        let (name, regex) = (self.name()?, self.regex());
        Some(format!(
            "`-e {name}={regex}` is the image `{name}` with the regex `{regex}`; for a regex \
             with `=`, write `{name}\\={regex}`"
        ))
    }
}

impl FromStr for RuleArg {
    type Err = String;

    fn from_str(text: &str) -> Result<RuleArg, String> {
        let text = text.to_owned();
        let Some((name, regex)) = text.split_once('=').filter(|(name, _)| is_name(name)) else {
            return Ok(RuleArg { text, name_length: None });
        };
        let as_regex = format!("to search for the text, write `{name}\\={regex}`");
        if regex.is_empty() {
            return Err(format!("a regex is missing after `{name}=`; {as_regex}"));
        }
        if let Err(error) = name.parse::<ImageTemplate>() {
            return Err(format!("{error}; {as_regex}"));
        }
        let name_length = Some(name.len());
        Ok(RuleArg { text, name_length })
    }
}

/// Whether a text before `=` is the name of an image rather than part of a regex.
fn is_name(text: &str) -> bool {
    let is_start = |byte: &u8| byte.is_ascii_alphanumeric() || b"_{".contains(byte);
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./{}".contains(&byte);
    text.as_bytes().first().is_some_and(is_start)
        && text.bytes().all(is_allowed)
        // `a{2}` is a regex. Without braces only the length can be wrong.
        && (!text.contains(['{', '}']) || text.parse::<ImageTemplate>().is_ok())
}

/// The rules of these arguments.
///
/// # Errors
/// The index of the first argument with an invalid regex, and the reason.
pub fn rules(args: &[RuleArg]) -> Result<Rules, (usize, PatternError)> {
    let mut rules = Rules::default();
    for (index, arg) in args.iter().enumerate() {
        // Valid: `from_str` has checked the name, and a test checks the default.
        let name = arg.name().unwrap_or(DEFAULT_IMAGE);
        let Ok(image) = name.parse::<ImageTemplate>() else { continue };
        let regex = arg.regex().as_bytes();
        rules.push_rule(image, Field::CommandLine, regex).map_err(|error| (index, error))?;
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use psstat_matcher::MatchCache;

    use super::*;

    #[test]
    fn names_are_distinguished_from_regexes() {
        let parsed = |text: &str| {
            let arg: RuleArg = text.parse().unwrap();
            (arg.name().map(str::to_owned), arg.regex().to_owned())
        };
        for (text, name, regex) in [
            ("a=b", "a", "b"),
            ("java/shop-1.x_y=-Dapp=shop", "java/shop-1.x_y", "-Dapp=shop"),
            ("7==", "7", "="),
            ("_x= ", "_x", " "),
            ("java/{app}=(?P<app>x)", "java/{app}", "(?P<app>x)"),
            ("{app}-{_n2}=y", "{app}-{_n2}", "y"),
        ] {
            assert_eq!(parsed(text), (Some(name.to_owned()), regex.to_owned()), "{text}");
        }
        for text in [
            "",
            "=",
            "=b",
            "a",
            "-Dapp=shop",
            "--name=x",
            "/opt/a=b",
            "./a=b",
            ".x=y",
            "a\\=b",
            "^a=b",
            "a =b",
            "(?:)a=b",
            "é=b",
            "[a]=b",
            "a{2}=b",
            "a{b=c",
            "a}=c",
            "a{}=c",
            "(?<=a)b",
        ] {
            assert_eq!(parsed(text), (None, text.to_owned()), "{text}");
        }
        let long = format!("{}=b", "x".repeat(201));
        for (text, want) in [("a=", "missing after `a=`"), (&long, "201 bytes")] {
            let error = text.parse::<RuleArg>().unwrap_err();
            assert!(error.contains(want) && error.contains(r"\="), "{error}");
        }
    }

    #[test]
    fn rules_of_several_images() {
        let args = |texts: &[&str]| -> Vec<RuleArg> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let named = rules(&args(&["x=^a", "b$", "x=c", "y=a"])).unwrap();
        let images: Vec<&str> = named.images().iter().map(ImageTemplate::as_str).collect();
        assert_eq!(images, ["x", DEFAULT_IMAGE, "y"]);
        let images_of = |text: &str| {
            let mut cache = MatchCache::default();
            let found = named.matches(text.as_bytes(), &mut cache).map(|one| one.image);
            found.collect::<Vec<_>>()
        };
        assert_eq!(images_of("a b"), [0, 1, 2]);
        assert_eq!(images_of("c"), [0]);
        assert_eq!(rules(&args(&["a", "b=(", "("])).unwrap_err().0, 1);
        assert_eq!(rules(&args(&["a", "b", "{app}=(?P<other>x)"])).unwrap_err().0, 2);
    }
}
