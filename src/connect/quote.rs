//! A command for a login shell that nobody knows: sh and its kin, csh, tcsh or fish.
//!
//! Invariant: a word is either of characters that mean nothing to any of them, or stands between single
//! quotes and holds nothing that means something there: no `'`, no `!` and no newline (csh), no backtick, no
//! `\\` and no backslash at its end (fish).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The words as one command line. It replaces the shell, so that none waits in memory for its end.
pub(crate) fn command_line(words: &[OsString]) -> Result<OsString, String> {
    let mut line = b"exec".to_vec();
    for word in words {
        line.push(b' ');
        push_word(&mut line, word)?;
    }
    Ok(OsString::from_vec(line))
}

fn push_word(line: &mut Vec<u8>, word: &OsStr) -> Result<(), String> {
    let bytes = word.as_bytes();
    // A home directory is the shell's to find: `~/venv/bin/python`, `~deploy/bin/python3`.
    let is_home = |end: usize| bytes.starts_with(b"~") && bytes[1..end].iter().all(is_plain);
    let home = bytes.iter().position(|&byte| byte == b'/').filter(|&end| is_home(end));
    let (open, rest) = bytes.split_at(home.unwrap_or(0));
    line.extend_from_slice(open);
    if !rest.is_empty() && rest.iter().all(is_plain) {
        line.extend_from_slice(rest);
        return Ok(());
    }
    let is_bad = |byte: &u8| b"'!`".contains(byte) || byte.is_ascii_control();
    let has_bad_backslash = rest.ends_with(b"\\") || rest.windows(2).any(|pair| pair == br"\\");
    if rest.iter().any(is_bad) || has_bad_backslash {
        return Err(format!(
            "{word:?} cannot be quoted for every login shell: it has one of ' ! ` in it, a control \
             character, or two backslashes"
        ));
    }
    line.push(b'\'');
    line.extend_from_slice(rest);
    line.push(b'\'');
    Ok(())
}

fn is_plain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/.-_+".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Result<String, String> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        command_line(&words).map(|line| line.into_string().unwrap())
    }

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        assert_eq!(line(&["/usr/bin/python3.11", "-c"]).unwrap(), "exec /usr/bin/python3.11 -c");
        assert_eq!(line(&["a b", "", "$x;\"\\n"]).unwrap(), "exec 'a b' '' '$x;\"\\n'");
        assert_eq!(line(&["h\u{e9}"]).unwrap(), "exec 'h\u{e9}'");
    }

    #[test]
    fn a_home_directory_is_left_to_the_shell() {
        assert_eq!(line(&["~/venv/bin/python"]).unwrap(), "exec ~/venv/bin/python");
        assert_eq!(line(&["~web/my py/python"]).unwrap(), "exec ~web'/my py/python'");
        assert_eq!(line(&["~a b/python", "~"]).unwrap(), "exec '~a b/python' '~'");
    }

    #[test]
    fn what_no_quotes_hold_is_refused() {
        for word in ["it's", "a!", "`x`", "a\nb", "a\\\\b", "end\\"] {
            let error = line(&[word]).unwrap_err();
            assert!(error.contains("cannot be quoted for every login shell"), "{error}");
        }
    }
}
