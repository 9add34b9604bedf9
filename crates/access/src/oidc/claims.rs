//! Who somebody is here, by what the provider says of them.

use posthaste_mail::Foreign;
use serde_json::{Map, Value};

use super::error::OidcError;
use crate::users::Role;

/// The longest name that is shown, in characters.
const NAME_MAX: usize = 128;
/// The most values of a claim that a person is told.
const TOLD_MAX: usize = 20;

/// Which claims give a role and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRules {
    /// The claim that gives a role.
    pub role: String,
    /// Its values for operators.
    pub operators: Vec<String>,
    /// Its values for viewers.
    pub viewers: Vec<String>,
    /// The claims that may give the name, the first that is there first.
    pub names: Vec<String>,
}

/// Somebody who may open the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name, for people.
    pub name: String,
    /// Who it is at the provider, whatever the name.
    pub subject: String,
    /// What they may do.
    pub role: Role,
}

type Claims = Map<String, Value>;

impl ClaimRules {
    /// Whether claims that were asked for are missing, and may be had elsewhere.
    pub(super) fn misses(&self, claims: &Claims) -> bool {
        !self.tells(claims) || self.names.first().is_some_and(|first| find(claims, first).is_none())
    }

    /// Whether these claims say what decides about the role.
    pub(super) fn tells(&self, claims: &Claims) -> bool {
        find(claims, &self.role).is_some() && (!self.is_by_address() || claims.contains_key(VERIFIED))
    }

    /// Who it is.
    pub(super) fn identity(&self, claims: &Claims) -> Result<Identity, OidcError> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = self.name(claims).unwrap_or_else(|| shown(&subject));
        match self.role(claims) {
            Some(role) => Ok(Identity { name, subject, role }),
            None => Err(OidcError::NoRole { name, holds: self.held(claims).into_iter().take(TOLD_MAX).map(shown).collect() }),
        }
    }

    fn role(&self, claims: &Claims) -> Option<Role> {
        let held = self.held(claims);
        let any = |wanted: &[String]| held.iter().any(|value| wanted.iter().any(|wanted| wanted == value));
        let viewer = any(&self.viewers).then_some(Role::Viewer);
        if any(&self.operators) { Some(Role::Operator) } else { viewer }
    }

    /// The values of the claim that gives a role. An address counts only if the provider has verified that it is theirs.
    fn held<'c>(&self, claims: &'c Claims) -> Vec<&'c str> {
        if self.is_by_address() && claims.get(VERIFIED) != Some(&Value::Bool(true)) {
            return Vec::new();
        }
        match find(claims, &self.role) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    fn is_by_address(&self) -> bool {
        self.role == "email"
    }

    fn name(&self, claims: &Claims) -> Option<String> {
        let given = self.names.iter().filter_map(|name| find(claims, name)?.as_str());
        given.map(str::trim).find(|name| !name.is_empty()).map(shown)
    }
}

const VERIFIED: &str = "email_verified";

/// A claim by its name; or, if there is none, by the names of objects in each other, joined by dots (`realm_access.roles`).
fn find<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    claims.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        find(claims.get(outer)?.as_object()?, inner)
    })
}

fn shown(text: &str) -> String {
    Foreign::new(text).first(NAME_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(role: &str) -> ClaimRules {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        ClaimRules {
            role: role.into(),
            operators: list(&["mail-ops", "ann@example.com"]),
            viewers: list(&["staff", "support"]),
            names: list(&["preferred_username", "email", "sub"]),
        }
    }

    fn identity(role: &str, claims: &Value) -> Result<Identity, OidcError> {
        rules(role).identity(claims.as_object().unwrap())
    }

    fn role(claim: &str, claims: &Value) -> Option<Role> {
        identity(claim, claims).ok().map(|identity| identity.role)
    }

    #[test]
    fn the_highest_role_that_a_value_gives_counts_and_no_value_gives_none() {
        let of = |groups: Value| role("groups", &json!({ "sub": "1", "groups": groups }));
        assert_eq!(of(json!(["staff", "mail-ops"])), Some(Role::Operator));
        assert_eq!(of(json!(["x", "support"])), Some(Role::Viewer));
        assert_eq!(of(json!("staff")), Some(Role::Viewer));
        for none in
            [json!([]), json!(["Staff", "staff ", "mail-ops,staff", 7, null, ["staff"]]), json!("staff mail-ops"), json!(true), json!({})]
        {
            assert_eq!(of(none.clone()), None, "{none}");
        }
        assert_eq!(role("groups", &json!({ "sub": "1", "roles": ["staff"] })), None);
    }

    #[test]
    fn a_claim_is_found_inside_objects_and_one_with_dots_in_its_name_by_that() {
        let keycloak = json!({ "sub": "1", "realm_access": { "roles": ["mail-ops"] } });
        assert_eq!(role("realm_access.roles", &keycloak), Some(Role::Operator));
        assert_eq!(role("realm_access.groups", &keycloak), None);
        assert_eq!(role("https://example.com/groups", &json!({ "sub": "1", "https://example.com/groups": "staff" })), Some(Role::Viewer));
    }

    #[test]
    fn an_address_gives_a_role_only_if_the_provider_has_verified_it() {
        let of = |verified: Value| role("email", &json!({ "sub": "1", "email": "ann@example.com", "email_verified": verified }));
        assert_eq!(of(json!(true)), Some(Role::Operator));
        assert!(of(json!(false)).is_none() && of(json!("true")).is_none() && of(Value::Null).is_none());
        assert!(
            rules("email").misses(json!({ "preferred_username": "ann", "email": "x" }).as_object().unwrap()),
            "it may be had elsewhere"
        );
        let (no_name, no_role) = (json!({ "groups": [], "email": "x" }), json!({ "preferred_username": "ann" }));
        let [no_name, no_role] = [&no_name, &no_role].map(|claims| claims.as_object().unwrap());
        assert!(rules("groups").misses(no_name) && rules("groups").tells(no_name) && !rules("groups").tells(no_role));
    }

    #[test]
    fn the_name_is_the_first_claim_that_is_there_in_one_line() {
        let name = |mut claims: Value| {
            claims["groups"] = json!("staff");
            identity("groups", &claims).unwrap().name
        };
        assert_eq!(name(json!({ "sub": "1", "preferred_username": " ann ", "email": "a@example.com" })), "ann");
        assert_eq!(name(json!({ "sub": "1", "preferred_username": "", "email": "a@example.com" })), "a@example.com");
        assert_eq!(name(json!({ "sub": "1", "preferred_username": 7 })), "1");
        assert_eq!(name(json!({ "sub": "1", "email": "a\n\u{202e}b" })), "a\\n\\u202eb");
        assert_eq!(name(json!({ "sub": "x".repeat(500) })).len(), NAME_MAX);
    }

    #[test]
    fn who_gets_no_role_is_told_as_whom_and_with_what() {
        let refused = identity("groups", &json!({ "sub": "1", "email": "a@example.com", "groups": ["sales", "hr"] }));
        let Err(OidcError::NoRole { name, holds }) = refused else { panic!("{refused:?}") };
        assert_eq!((name.as_str(), holds), ("a@example.com", vec!["sales".to_owned(), "hr".into()]));
    }
}
