//! Names that may come from anywhere, checked before a file may be created under them.

use super::error::Problem;

/// Most bytes in a name: what common file systems allow in a path component.
pub(super) const MAX_NAME: usize = 255;

/// The name in `bytes`, if a file or folder can safely be created under it.
pub(super) fn checked(bytes: &[u8]) -> Result<&str, Problem> {
    let name = std::str::from_utf8(bytes).map_err(|_| Problem::UnsafeName { why: "it is not UTF-8" })?;
    fault(name).map_or(Ok(name), |why| Err(Problem::UnsafeName { why }))
}

/// What keeps `name` from being one path component that stays in its folder.
pub(crate) fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name == "." || name == ".." {
        Some("it names a folder relative to another")
    } else if name.contains(['/', '\\']) {
        Some("it contains a path separator")
    } else if name.contains(char::is_control) {
        Some("it contains a control character")
    } else if name.len() > MAX_NAME {
        Some("it is longer than 255 bytes")
    } else {
        None
    }
}

/// `text` for an error message: quoted, at most 80 characters of it.
pub(crate) fn shortened(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_script_are_accepted() {
        let longest = "é".repeat(127) + "x";
        for name in ["a", "...", ".hidden", "C:", "файл", "文件 名", "ملف.txt", "🦀", " ", longest.as_str()]
        {
            assert_eq!(checked(name.as_bytes()), Ok(name));
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = "é".repeat(128);
        for name in ["", ".", "..", "/", "/etc", "a/b", "..\\a", "a\\b", "a\0", "a\nb", "\u{7f}", "\u{85}", &long]
        {
            assert!(matches!(checked(name.as_bytes()), Err(Problem::UnsafeName { .. })), "{name:?}");
        }
        assert!(matches!(checked(b"\xff"), Err(Problem::UnsafeName { .. })));
        assert!(matches!(checked(b"\xc0\xae\xc0\xae"), Err(Problem::UnsafeName { .. })), "an overlong '..'");
    }
}
