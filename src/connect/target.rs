//! Whom a password is for: the host that was asked for, and no jump host on the way to it.
//!
//! Jump hosts ask on the same terminal, and each of them may be in other hands. So the password is given
//! to a question only if nobody but the target can have asked it (there is no proxy), or if the question is
//! one line that names the target. A jump host can put lines of its own into a question, but OpenSSH 8.5
//! and later begin each with the name of the host that it comes from; with an older client a jump host
//! that is in wrong hands can ask in the target's name.
//!
//! What ssh calls the target is its `HostName` or `HostKeyAlias`, and `User`, of the user's configuration:
//! `ssh -G` with the same arguments says so, without connecting.

use super::prompt::asker;

/// Whom a password is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Unknown where neither the program nor the configuration says.
    user: Option<String>,
    /// In lower case.
    hosts: Vec<String>,
    /// Nobody else is asked on the way.
    direct: bool,
}

impl Target {
    /// As the program gave it, perhaps with `user@` in front; whether there is a jump host is not known.
    pub(crate) fn given(user: Option<&str>, host: &str) -> Target {
        let (in_front, host) =
            host.rsplit_once('@').map_or((None, host), |(user, host)| (Some(user), host));
        // What is set apart counts more, as for ssh.
        let user = user.or(in_front).map(String::from);
        Target { user, hosts: vec![host.to_lowercase()], direct: false }
    }

    /// Where only one can ask.
    pub(crate) fn alone() -> Target {
        Target { direct: true, ..Target::default() }
    }

    /// As `ssh -G` printed it; `None` where that is no configuration.
    pub(crate) fn from_configuration(printed: &str) -> Option<Target> {
        let values = |name: &str| -> Vec<&str> {
            let lines = printed.lines().filter_map(|line| line.split_once(' '));
            let values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.trim()).collect()
        };
        let is_set = |name| values(name).iter().any(|value| !value.eq_ignore_ascii_case("none"));
        let mut hosts = values("hostname");
        if hosts.is_empty() {
            return None;
        }
        hosts.extend(values("hostkeyalias"));
        Some(Target {
            user: values("user").first().map(|user| user.to_string()),
            hosts: hosts.iter().map(|host| host.to_lowercase()).collect(),
            direct: !is_set("proxyjump") && !is_set("proxycommand"),
        })
    }

    /// Whether the password may be given to this question, which is asked in this `line`; `is_alone` where
    /// nothing was printed above it.
    pub(crate) fn is_asked_in(&self, line: &str, is_alone: bool) -> bool {
        self.direct || is_alone && asker(line).is_some_and(|name| self.is_called(name))
    }

    fn is_called(&self, name: &str) -> bool {
        let Some((user, host)) = name.rsplit_once('@') else { return false };
        // In a password's question ssh cuts names to these lengths.
        let same = |ours: &str, theirs: &str, cut: usize| {
            ours == theirs || ours.len() > cut && ours.as_bytes()[..cut] == *theirs.as_bytes()
        };
        self.user.as_ref().is_none_or(|ours| same(ours, user, 30))
            && self.hosts.iter().any(|ours| same(ours, &host.to_lowercase(), 128))
    }

    /// For errors.
    pub(crate) fn name(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: &str = "host web\nuser deploy\nhostname web1.example\nproxyusefdpass no\n";

    fn is_asked(target: &Target, line: &str) -> bool {
        target.is_asked_in(line, true)
    }

    #[test]
    fn where_nobody_is_on_the_way_every_password_that_is_asked_for_is_the_targets() {
        let target = Target::from_configuration(DIRECT).unwrap();
        for line in ["deploy@web1.example's password: ", "Password: ", "(x@y) Password: "] {
            assert!(target.is_asked_in(line, true) && target.is_asked_in(line, false), "{line}");
        }
        let none = format!("{DIRECT}proxycommand none\nproxyjump none\n");
        assert_eq!(Target::from_configuration(&none), Some(target));
        assert_eq!(Target::from_configuration("unknown option -- G"), None);
    }

    #[test]
    fn behind_a_jump_host_a_question_has_to_name_the_target_and_say_nothing_else() {
        for proxy in ["proxyjump me@gate", "proxycommand ssh -W %h:%p gate"] {
            let target = Target::from_configuration(&format!("{DIRECT}{proxy}\n")).unwrap();
            for line in ["deploy@web1.example's password: ", "(deploy@WEB1.example) Password: "] {
                assert!(target.is_asked_in(line, true), "{line}");
                assert!(!target.is_asked_in(line, false), "{line}");
            }
            for line in [
                "me@gate's password: ",
                "(me@gate) Password: ",
                "(me@gate) \rdeploy@web1.example's password: ",
                "root@web1.example's password: ",
                "Password: ",
                "Password for deploy@web1.example: ",
            ] {
                assert!(!is_asked(&target, line), "{line}");
            }
        }
    }

    #[test]
    fn a_host_is_also_called_by_the_alias_of_its_key() {
        let printed = format!("{DIRECT}hostkeyalias Web-One\nproxyjump gate\n");
        let target = Target::from_configuration(&printed).unwrap();
        assert!(is_asked(&target, "deploy@web-one's password: "));
        assert!(is_asked(&target, "(deploy@web1.example) Password: "));
    }

    #[test]
    fn what_the_program_gave_counts_until_the_configuration_is_known() {
        let target = Target::given(None, "Web1");
        assert!(is_asked(&target, "anyone@web1's password: "));
        assert!(!is_asked(&target, "anyone@web2's password: ") && !is_asked(&target, "Password: "));
        for given in [Target::given(Some("me"), "web1"), Target::given(None, "me@web1")] {
            assert!(is_asked(&given, "me@web1's password: "));
            assert!(!is_asked(&given, "you@web1's password: "));
        }
        assert!(is_asked(&Target::given(Some("me"), "you@web1"), "me@web1's password: "));
        assert!(!is_asked(&Target::default(), "@'s password: "));
    }

    #[test]
    fn names_are_compared_as_far_as_ssh_shows_them() {
        let (user, host) = ("u".repeat(40), "h".repeat(140));
        let target = Target::given(Some(&user), &host);
        assert!(is_asked(&target, &format!("{}@{}'s password: ", &user[..30], &host[..128])));
        assert!(is_asked(&target, &format!("({user}@{host}) Password: ")));
        assert!(!is_asked(&target, &format!("{}@{}'s password: ", &user[..29], &host[..128])));
    }
}
