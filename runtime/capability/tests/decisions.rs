//! What is allowed, what is refused, and why.

mod common;

use common::{COMPONENT, GRANT, MANIFEST, NOW};
use tally_capability::{
    Access, Ask, Cause, DEFAULT_LIMITS, Decision, Effective, Grant, Manifest, Moment, ResolveError,
};

fn effective() -> Effective {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    Effective::resolve(&manifest, &Grant::from_toml(GRANT).unwrap(), &COMPONENT).unwrap()
}

fn cause(decision: Decision<'_>) -> Cause {
    match decision {
        Decision::Denied(denial) => denial.cause,
        Decision::Allowed { rule } => panic!("allowed by {rule}"),
    }
}

#[test]
fn allows_what_both_sides_say_and_names_the_rule() {
    let effective = effective();
    assert_eq!(
        effective.decide(Ask::Model("seed"), NOW),
        Decision::Allowed {
            rule: "models/seed"
        }
    );
    assert_eq!(
        effective.decide(Ask::Output, NOW),
        Decision::Allowed { rule: "output" }
    );
}

#[test]
fn a_grant_of_everything_does_not_widen_the_manifest() {
    let effective = effective();
    assert_eq!(
        cause(effective.decide(Ask::Model("other"), NOW)),
        Cause::NotAsked
    );
    assert_eq!(cause(effective.decide(Ask::Random, NOW)), Cause::NotAsked);
}

#[test]
fn asking_is_not_being_granted() {
    let effective = effective();
    assert_eq!(
        cause(effective.decide(Ask::Tool("clock"), NOW)),
        Cause::NotGranted
    );
    assert_eq!(
        cause(effective.decide(Ask::Setting("lang"), NOW)),
        Cause::NotGranted
    );
}

#[test]
fn an_expired_grant_says_so_from_its_first_second_on() {
    let effective = effective();
    let expires: Moment = "2027-06-01T00:00:00Z".parse().unwrap();
    let before = Moment::from_epoch_seconds(expires.epoch_seconds() - 1);
    assert!(effective.decide(Ask::Output, before).is_allowed());
    assert_eq!(
        cause(effective.decide(Ask::Output, expires)),
        Cause::Expired(expires)
    );
    assert_eq!(
        cause(effective.decide(Ask::Random, expires)),
        Cause::NotAsked,
        "what was never asked for stays that"
    );
}

#[test]
fn a_manifest_that_asks_for_nothing_gets_nothing() {
    let everything = Grant::from_toml(
        "[capabilities]\nmodels = ['*']\ntools = ['*']\nsettings = ['*']\nrandom = true\noutput = true",
    )
    .unwrap();
    let effective = Effective::resolve(&Manifest::undeclared(), &everything, &COMPONENT).unwrap();
    for ask in [
        Ask::Model("seed"),
        Ask::Tool("clock"),
        Ask::Setting("lang"),
        Ask::Random,
        Ask::Output,
    ] {
        assert_eq!(cause(effective.decide(ask, NOW)), Cause::NotAsked);
    }
    assert_eq!(effective.limits(), &DEFAULT_LIMITS);
}

#[test]
fn the_smaller_budget_holds_and_a_grant_may_raise_a_default() {
    let effective = effective();
    assert_eq!(effective.limits().tokens.get(), 4000);
    assert_eq!(effective.limits().wall.get(), 1000);
    assert_eq!(effective.limits().fuel, DEFAULT_LIMITS.fuel);
    let more = Grant::from_toml("budgets.fuel = 90_000_000_000").unwrap();
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    assert_eq!(
        Effective::resolve(&manifest, &more, &COMPONENT)
            .unwrap()
            .limits()
            .fuel
            .get(),
        90_000_000_000
    );
}

#[test]
fn a_grant_for_another_component_does_not_resolve() {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let grant = Grant::from_toml(GRANT).unwrap().only_for([8; 32]).unwrap();
    let error = Effective::resolve(&manifest, &grant, &COMPONENT).unwrap_err();
    assert_eq!(
        error,
        ResolveError::OtherComponent {
            granted: [8; 32],
            found: COMPONENT
        }
    );
    assert!(error.to_string().contains("0808"));
}

#[test]
fn sentences_say_what_may_and_what_may_not() {
    let said = |lines: Vec<tally_capability::Line>| {
        lines
            .into_iter()
            .map(|line| format!("{} {}", if line.may { '+' } else { '-' }, line))
            .collect::<Vec<_>>()
    };
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    assert_eq!(
        said(manifest.explain()),
        [
            "+ planner 0.1.0 is an agent",
            "+ asks to use the models nano and seed",
            "+ asks to call the tool clock",
            "+ asks to read the setting lang",
            "- does not ask to read any namespace",
            "- does not ask to take random bytes",
            "+ asks to show text while it runs",
            "+ says it needs no more than: tokens 4000",
        ]
    );
    let lines = said(effective().explain(NOW));
    assert_eq!(
        lines[..7],
        [
            "+ may do the following until 2027-06-01T00:00:00Z",
            "+ may use the models nano and seed",
            "- may not call the tool clock: it asks to and is not granted it",
            "- may not read the setting lang: it asks to and is not granted it",
            "- may not read any namespace: it does not ask to",
            "- may not take random bytes: it does not ask to",
            "+ may show text while it runs",
        ]
    );
    assert!(lines.contains(&"+ may spend 4,000 tokens".to_owned()));
    let expired = effective().explain("2028-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(said(expired).len(), 1);
}

#[test]
fn refusals_are_sentences_with_a_stable_code() {
    let effective = effective();
    let Decision::Denied(denial) = effective.decide(Ask::Tool("clock"), NOW) else {
        panic!("it is refused")
    };
    assert_eq!(denial.to_string(), "the tool \"clock\" is not granted");
    assert_eq!(denial.cause.code(), "capability.not-granted");
}

#[test]
fn a_namespace_is_as_open_as_the_narrower_side_says() {
    let manifest = Manifest::from_toml(
        "name = 'a'\nversion = '1'\n[capabilities]\nvault-curate = ['trips']\nvault-read = ['diary']",
    )
    .unwrap();
    let grant =
        Grant::from_toml("[capabilities]\nvault-append = ['trips', 'diary', 'health']").unwrap();
    let effective = Effective::resolve(&manifest, &grant, &COMPONENT).unwrap();
    let decide = |access, name| match effective.decide(Ask::Vault(access, name), NOW) {
        Decision::Allowed { rule } => rule.to_owned(),
        Decision::Denied(denial) => denial.to_string(),
    };
    assert_eq!(decide(Access::Append, "trips"), "vault-append/trips");
    assert_eq!(decide(Access::Read, "trips"), "vault-read/trips");
    assert_eq!(
        decide(Access::Curate, "trips"),
        "curating the namespace \"trips\" is not granted"
    );
    assert_eq!(decide(Access::Read, "diary"), "vault-read/diary");
    assert_eq!(
        decide(Access::Append, "diary"),
        "appending to the namespace \"diary\" is not asked for in the manifest"
    );
    assert_eq!(
        decide(Access::Read, "health"),
        "reading the namespace \"health\" is not asked for in the manifest"
    );
}
