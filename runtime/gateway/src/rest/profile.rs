//! `/v1/profile`.

use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, Input, Params, text};
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::service::{BioLength, NamedText, PhrasedBio, Profile, known_category};

const BIO_LEN: usize = 8 << 10;

/// Which part of the profile.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileQuery {
    /// Only this category.
    category: Option<String>,
    /// Taken and not needed: a profile is made from the facts of the moment.
    #[serde(default)]
    #[expect(dead_code, reason = "clients of the documented shape send it")]
    refresh: Option<bool>,
    /// Parts, with commas between them: `bio`, `static`, `dynamic`, `categories`; all if it is left out.
    include: Option<String>,
}

pub(crate) async fn profile(
    State(gateway): State<Gateway>,
    Params(query): Params<ProfileQuery>,
) -> Result<Answer<Profile>, ApiError> {
    if let Some(category) = &query.category {
        known_category(category)?;
    }
    let mut profile = gateway.ask(|memory| memory.profile()).await?;
    if let Some(category) = query.category {
        profile.categories.retain(|it| it.name == category);
    }
    if let Some(include) = query.include {
        let parts: Vec<&str> = include.split(',').map(str::trim).collect();
        if let Some(unknown) = parts
            .iter()
            .find(|part| !["bio", "static", "dynamic", "categories"].contains(part))
        {
            return Err(ApiError::invalid(
                "include_unknown",
                format!("{unknown:?} is no part of a profile: bio, static, dynamic, categories"),
            ));
        }
        if !parts.contains(&"bio") {
            profile.user_bio.clear();
            profile.bios.clear();
        }
        if !parts.contains(&"static") {
            profile.lasting.clear();
        }
        if !parts.contains(&"dynamic") {
            profile.dynamic.clear();
        }
        if !parts.contains(&"categories") {
            profile.categories.clear();
        }
    }
    Ok(Answer(StatusCode::OK, profile))
}

/// Which bio.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BioQuery {
    /// Also one of this length in the words of the server's chat model, which are held against the facts. It takes the model's time.
    phrase: Option<BioLength>,
}

/// The bio.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Bio {
    /// The usual length.
    bio: String,
    /// Other lengths.
    bios: Vec<NamedText>,
    /// Whether it is the owner's own words.
    own: bool,
    /// In a model's words, if that was asked for.
    phrased: Option<PhrasedBio>,
}

impl From<Profile> for Bio {
    fn from(profile: Profile) -> Self {
        Self {
            bio: profile.user_bio,
            bios: profile.bios,
            own: profile.bio_is_own,
            phrased: None,
        }
    }
}

pub(crate) async fn bio(
    State(gateway): State<Gateway>,
    Params(query): Params<BioQuery>,
) -> Result<Answer<Bio>, ApiError> {
    let (profile, phrased) = gateway.profile(query.phrase).await?;
    let bio = Bio {
        phrased,
        ..profile.into()
    };
    Ok(Answer(StatusCode::OK, bio))
}

/// A new bio.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditBio {
    /// The owner's words; `null` brings the rendered bio back.
    bio: Option<String>,
}

pub(crate) async fn edit_bio(
    State(gateway): State<Gateway>,
    Input(edit): Input<EditBio>,
) -> Result<Answer<Bio>, ApiError> {
    if let Some(bio) = &edit.bio {
        text("bio", bio, BIO_LEN)?;
    }
    let profile = gateway
        .ask(move |memory| memory.set_bio(edit.bio.as_deref()))
        .await?;
    Ok(Answer(StatusCode::OK, profile.into()))
}
