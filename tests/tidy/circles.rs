//! Finds circles of files: groups in which each file imports, by way of others, each other file and so itself.

use std::{collections::BTreeSet, fmt};

use super::imports::Imports;

/// Files of one circle, and what they import from each other.
pub(crate) struct Circle<'i> {
    pub(crate) files: Vec<&'i str>,
    /// Who imports from whom, and which names.
    pub(crate) imports: Vec<(&'i str, &'i str, &'i BTreeSet<String>)>,
}

/// All circles, the small ones first. A file is in one of them at most.
pub(crate) fn circles(imports: &Imports) -> Vec<Circle<'_>> {
    let reached = reached_from_each(imports);
    let mut circles: Vec<Circle<'_>> = Vec::new();
    for first in 0..reached.len() {
        let members: Vec<usize> = (0..reached.len()).filter(|&other| reached[first][other] && reached[other][first]).collect();
        // Each circle is found from each of its files: once is enough.
        if members.first() == Some(&first) {
            circles.push(circle(imports, &members));
        }
    }
    circles.sort_by_key(|circle| circle.files.len());
    circles
}

/// `reached[a][b]`: does a import b, be it by way of others?
fn reached_from_each(imports: &Imports) -> Vec<Vec<bool>> {
    let count = imports.files.len();
    let mut imported_by = vec![Vec::new(); count];
    for &(from, to) in imports.names.keys() {
        imported_by[from].push(to);
    }
    let from = |first: usize| {
        let mut reached = vec![false; count];
        let mut ahead = imported_by[first].clone();
        while let Some(file) = ahead.pop() {
            if !std::mem::replace(&mut reached[file], true) {
                ahead.extend(&imported_by[file]);
            }
        }
        reached
    };
    (0..count).map(from).collect()
}

fn circle<'i>(imports: &'i Imports, members: &[usize]) -> Circle<'i> {
    let name = |file: usize| imports.files[file].as_str();
    let inside = imports.names.iter().filter(|((from, to), _)| members.contains(from) && members.contains(to));
    let mut circle = Circle {
        files: members.iter().map(|&file| name(file)).collect(),
        imports: inside.map(|(&(from, to), names)| (name(from), name(to), names)).collect(),
    };
    circle.files.sort_unstable();
    circle.imports.sort_unstable();
    circle
}

impl fmt::Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files import each other in a circle:", self.files.len())?;
        for file in &self.files {
            writeln!(f, "    {file}")?;
            for (_, to, names) in self.imports.iter().filter(|(from, ..)| from == file) {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                writeln!(f, "        imports {} from {to}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Crates `mail` and `relay` of these files (paths without `crates/`).
    fn house(files: &[(&str, &str)]) -> Imports {
        let files: BTreeMap<String, String> = files.iter().map(|(path, text)| (format!("crates/{path}"), (*text).to_owned())).collect();
        Imports::of_crates(["crates/mail", "crates/relay"], &|path| files.get(path).cloned())
    }

    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        circles(&house(files)).iter().map(ToString::to_string).collect()
    }

    /// `FROM > TO: NAMES`, sorted, without `crates/`, `src/` and `.rs`.
    fn imports_of(files: &[(&str, &str)]) -> Vec<String> {
        let imports = house(files);
        let short = |file: usize| imports.files[file].trim_start_matches("crates/").trim_end_matches(".rs").replace("/src", "");
        let mut lines: Vec<_> = imports
            .names
            .iter()
            .map(|(&(from, to), names)| {
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                format!("{} > {}: {}", short(from), short(to), names.join(" "))
            })
            .collect();
        lines.sort_unstable();
        lines
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let found = circles_of(&[
            ("mail/src/lib.rs", "mod lane;\nmod curve;"),
            ("mail/src/lane.rs", "use crate::curve::{Curve, Step};\npub struct Lane(Curve, Step);"),
            ("mail/src/curve.rs", "pub struct Curve;\npub struct Step;\nfn of(lane: &super::lane::Lane) {}"),
        ]);
        let text = "2 files import each other in a circle:\n    \
            crates/mail/src/curve.rs\n        imports Lane from crates/mail/src/lane.rs\n    \
            crates/mail/src/lane.rs\n        imports Curve, Step from crates/mail/src/curve.rs\n";
        assert_eq!(found, [text]);
    }

    #[test]
    fn a_circle_of_three_files_is_found_and_who_only_imports_it_is_no_part() {
        let files = [
            ("mail/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("mail/src/a.rs", "use super::b::B;\npub struct A;"),
            ("mail/src/b.rs", "use super::c::C;\npub struct B;"),
            ("mail/src/c.rs", "use super::a::A;\npub struct C;"),
            ("mail/src/d.rs", "use super::a::A;"),
        ];
        let imports = house(&files);
        let found = circles(&imports);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].files, ["crates/mail/src/a.rs", "crates/mail/src/b.rs", "crates/mail/src/c.rs"]);
        assert_eq!(found[0].imports.len(), 3);
    }

    #[test]
    fn the_circle_with_fewest_files_comes_first() {
        let found = circles_of(&[
            ("mail/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\nmod e;"),
            ("mail/src/a.rs", "use super::b::B;\npub struct A;"),
            ("mail/src/b.rs", "use super::c::C;\npub struct B;"),
            ("mail/src/c.rs", "use super::a::A;\npub struct C;"),
            ("mail/src/d.rs", "use super::e::E;\npub struct D;"),
            ("mail/src/e.rs", "use super::d::D;\npub struct E;"),
        ]);
        let sizes: Vec<_> = found.iter().map(|text| &text[..1]).collect();
        assert_eq!(sizes, ["2", "3"]);
    }

    #[test]
    fn a_house_without_a_circle_has_none() {
        let files = [
            ("mail/src/lib.rs", "mod address;\nmod reply;\npub use address::Address;\npub use reply::Reply;"),
            ("mail/src/address.rs", "pub struct Address;"),
            ("mail/src/reply.rs", "use crate::Address;\npub struct Reply(Address);"),
            ("relay/src/lib.rs", "use posthaste_mail::{Address, Reply};"),
        ];
        assert_eq!(circles_of(&files), NONE);
        assert_eq!(
            imports_of(&files),
            ["mail/reply > mail/address: Address", "relay/lib > mail/address: Address", "relay/lib > mail/reply: Reply"]
        );
    }

    #[test]
    fn a_circle_through_a_reexport_is_between_those_who_define() {
        let files = [
            ("mail/src/lib.rs", "mod queue;\npub use queue::{Lane, Pace};"),
            ("mail/src/queue/mod.rs", "mod lane;\nmod pace;\npub use self::{lane::Lane, pace::Pace};"),
            ("mail/src/queue/lane.rs", "use crate::Pace;\npub struct Lane(Pace);"),
            ("mail/src/queue/pace.rs", "use super::Lane;\npub struct Pace(Lane);"),
        ];
        assert_eq!(circles_of(&files).len(), 1);
        assert_eq!(imports_of(&files), ["mail/queue/lane > mail/queue/pace: Pace", "mail/queue/pace > mail/queue/lane: Lane"]);
    }

    #[test]
    fn who_uses_what_it_reexports_imports_it() {
        let files = [
            ("mail/src/lib.rs", "mod lane;\nmod pace;\npub(crate) use lane::Lane;\npub use pace::Pace;\npub struct All(Lane);"),
            ("mail/src/lane.rs", "use crate::All;\npub struct Lane(Vec<All>);"),
            ("mail/src/pace.rs", "use crate::All;\npub struct Pace(Vec<All>);"),
        ];
        assert_eq!(circles_of(&files).len(), 1);
        assert_eq!(imports_of(&files), ["mail/lane > mail/lib: All", "mail/lib > mail/lane: Lane", "mail/pace > mail/lib: All"]);
    }

    #[test]
    fn a_circle_through_an_alias_of_a_module_leads_to_the_file_of_the_name() {
        let files = [
            ("mail/src/lib.rs", "mod config;\nmod users;"),
            ("mail/src/config/mod.rs", "mod limits;\npub use limits::Limits;"),
            ("mail/src/config/limits.rs", "use crate::users as people;\npub struct Limits(people::User);"),
            ("mail/src/users.rs", "use crate::config;\npub struct User;\nfn all(limits: &config::Limits) {}"),
        ];
        assert_eq!(circles_of(&files).len(), 1);
        assert_eq!(imports_of(&files), ["mail/config/limits > mail/users: User", "mail/users > mail/config/limits: Limits"]);
    }

    #[test]
    fn a_module_and_a_function_of_one_name_are_told_apart() {
        let files = [
            ("mail/src/lib.rs", "pub mod audit;\npub mod log;\npub use audit::audit;"),
            ("mail/src/audit.rs", "pub fn audit() {}\npub struct Audit;\npub struct Other;"),
            ("mail/src/log.rs", "use crate::audit::{self, Audit};\npub fn all(_: audit::Other) {}\nfn audit() {}"),
            ("relay/src/main.rs", "use posthaste_mail::audit;\nfn main() { audit() }"),
            ("relay/src/lib.rs", "use posthaste_mail::{log, audit};\nfn all(_: audit::Audit) { log::all() }"),
        ];
        assert_eq!(
            imports_of(&files),
            [
                "mail/log > mail/audit: Audit Other",
                "relay/lib > mail/audit: Audit",
                "relay/lib > mail/log: all",
                "relay/main > mail/audit: audit"
            ]
        );
    }

    #[test]
    fn a_declaration_and_a_bare_import_of_a_module_are_no_imports() {
        let files = [("mail/src/lib.rs", "mod a;\nmod b;"), ("mail/src/a.rs", "use super::b;"), ("mail/src/b.rs", "use crate::a;")];
        assert_eq!(imports_of(&files), NONE);
    }

    #[test]
    fn paths_are_imports_wherever_they_stand() {
        let files = [
            ("mail/src/lib.rs", "pub mod names;\nmod code;"),
            ("mail/src/names.rs", "pub mod deep { pub struct Deep; pub struct Deeper; }"),
            (
                "mail/src/code.rs",
                "struct Kept(super::names::InType);
                fn code(given: u8) {
                    use crate::names::InBlock;
                    crate::names::in_call::<Vec<crate::names::InTurbofish>>();
                    match given { crate::names::IN_PATTERN => {} _ => {} }
                    println!(\"{}\", [self::outside(crate::names::in_macro())]);
                    mod inside { use super::super::names::InModule; }
                    given.names();
                }
                #[arg(value = crate::names::in_attribute)]
                fn outside(_: &super::names::deep::Deep) -> impl ::core::Trait<crate::names::deep::Deeper> {}",
            ),
        ];
        let names = "Deep Deeper IN_PATTERN InBlock InModule InTurbofish InType in_attribute in_call in_macro";
        assert_eq!(imports_of(&files), [format!("mail/code > mail/names: {names}")]);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let files = [
            ("mail/src/lib.rs", "mod a;\n#[cfg(test)]\nmod all_tests;\npub mod b;"),
            ("mail/src/all_tests.rs", "use crate::a::A;"),
            (
                "mail/src/a.rs",
                "#[cfg(test)] use crate::b::B;
                pub struct A;
                impl A { #[cfg(test)] fn easy() -> crate::b::B {} }
                #[cfg(all(test, unix))] impl crate::b::T for A {}
                #[cfg(test)] mod tests { use super::*; use crate::b::B; }
                #[cfg(not(test))] fn real() -> crate::b::Real {}",
            ),
            ("mail/src/b.rs", "#![cfg(test)]\nuse crate::a::A;"),
        ];
        assert_eq!(imports_of(&files), ["mail/a > mail/b: Real"]);
    }

    #[test]
    fn names_come_through_globs_private_imports_and_other_crates() {
        let files = [
            ("mail/src/lib.rs", "mod event;\npub use event::*;"),
            ("mail/src/event.rs", "pub struct Event;\npub enum Kind { Bounced }"),
            ("relay/src/lib.rs", "use posthaste_mail::Kind;\nmod log;"),
            ("relay/src/log.rs", "use posthaste_mail::*;\nuse super::Kind as What;\nfn line(_: &Event, _: &Strange) { What::Bounced; }"),
        ];
        assert_eq!(imports_of(&files), ["relay/lib > mail/event: Kind", "relay/log > mail/event: Event Kind"]);
    }

    #[test]
    fn a_name_that_a_macro_makes_belongs_to_the_file_of_its_module() {
        let files = [
            ("mail/src/lib.rs", "mod id;\npub use id::MessageId;"),
            ("mail/src/id.rs", "macro_rules! id { ($name:ident) => {} }\nid!(MessageId);\nfn f(_: crate::MessageId) {}"),
            ("relay/src/lib.rs", "fn f(_: ::posthaste_mail::MessageId, _: mail_parser::MessageId) {}"),
        ];
        assert_eq!(imports_of(&files), ["relay/lib > mail/id: MessageId"]);
    }

    #[test]
    fn a_name_in_a_block_hides_that_of_the_module() {
        let files = [
            ("mail/src/lib.rs", "mod a;\nmod b;\nmod user;"),
            ("mail/src/a.rs", "pub struct X;"),
            ("mail/src/b.rs", "pub struct Y;"),
            ("mail/src/user.rs", "use super::a as m;\nfn f() { use super::b as m;\n m::Y }\nfn g() { m::X }"),
        ];
        assert_eq!(imports_of(&files), ["mail/user > mail/a: X", "mail/user > mail/b: Y"]);
    }
}
