//! What `wit-bindgen` makes of the contract in `wit/`: the imports of both worlds, and the exports of each.
//!
//! The types are generated once, for the world `agent`; the world `tool` reuses them. An import that a guest does
//! not call does not reach its component, so a plugin does not ask for `output` because an agent could.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::undocumented_unsafe_blocks,
    clippy::allow_attributes_without_reason,
    reason = "generated: its documentation is the WIT, its unsafe blocks are the canonical ABI's"
)]

pub mod agent {
    wit_bindgen::generate!({
        path: "wit",
        world: "agent",
        std_feature,
        pub_export_macro: true,
        export_macro_name: "export_agent",
        default_bindings_module: "tally_agent::bindings::agent",
        additional_derives: [PartialEq],
        additional_derives_ignore: ["generation"],
    });
}

pub mod tool {
    wit_bindgen::generate!({
        path: "wit",
        world: "tool",
        std_feature,
        pub_export_macro: true,
        export_macro_name: "export_tool",
        default_bindings_module: "tally_agent::bindings::tool",
        with: {
            "tally:agent/types@0.1.0": crate::bindings::agent::tally::agent::types,
            "tally:agent/inference@0.1.0": crate::bindings::agent::tally::agent::inference,
            "tally:agent/env@0.1.0": crate::bindings::agent::tally::agent::env,
        },
    });
}
