//! `/v1/integrations/files` and how imports stand.

use axum::Extension;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::StatusCode;

use super::{Answer, short, text};
use crate::access::Caller;
use crate::error::ApiError;
use crate::gateway::Gateway;
use crate::jobs::{JobStatus, Place};
use tally_import::{DateOrder, Format, Offset, Options};

/// Fields of the form beside the file.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    (
        "format",
        "what the file is, when it should not be told by content",
    ),
    (
        "source",
        "the app it comes from; the name of the file's format if it is left out, as `tally memory import` has it",
    ),
    (
        "me",
        "the name or id under which the user speaks in the chat",
    ),
    (
        "utc_offset_minutes",
        "the offset of dates without a zone; 0 if it is left out",
    ),
    (
        "date_order",
        "day-first or month-first, when the file does not tell",
    ),
];

/// Bytes of a field beside the file.
const FIELD_LEN: usize = 256;

/// A form that was read.
pub(crate) struct Upload {
    place: Place,
    name: String,
    app: Option<String>,
    bytes: Vec<u8>,
    options: Options,
}

impl Upload {
    /// Reads a form, if there is a place for its file.
    pub(crate) async fn read(request: Request, gateway: &Gateway) -> Result<Self, ApiError> {
        let place = gateway.state.jobs.place()?;
        let most = gateway.state.config.file_len;
        let mut form = Multipart::from_request(request, gateway)
            .await
            .map_err(|error| ApiError::invalid("not_multipart", error.body_text()))?;
        let mut upload = Self {
            place,
            name: "file".to_owned(),
            app: None,
            bytes: Vec::new(),
            options: Options::default(),
        };
        let mut has_file = false;
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            let name = field.name().unwrap_or_default().to_owned();
            if name == "file" && !has_file {
                has_file = true;
                if let Some(file) = field.file_name() {
                    upload.name = file.to_owned();
                }
                text("the file's name", &upload.name, FIELD_LEN)?;
                while let Some(piece) = field.chunk().await.map_err(broken)? {
                    if upload.bytes.len() + piece.len() > most {
                        return Err(ApiError::new(
                            StatusCode::PAYLOAD_TOO_LARGE,
                            "file_too_large",
                            format!(
                                "a file of at most {most} bytes; `tally memory import` takes larger ones"
                            ),
                        ));
                    }
                    upload.bytes.extend_from_slice(&piece);
                }
            } else {
                let mut value = Vec::new();
                while let Some(piece) = field.chunk().await.map_err(broken)? {
                    if value.len() + piece.len() > FIELD_LEN {
                        return Err(ApiError::invalid(
                            "field_too_long",
                            format!("{name} has more than {FIELD_LEN} bytes"),
                        ));
                    }
                    value.extend_from_slice(&piece);
                }
                let value = String::from_utf8(value).map_err(|_| {
                    ApiError::invalid("field_not_text", format!("{name} is no text"))
                })?;
                upload.field(&name, &value)?;
            }
        }
        if !has_file {
            return Err(ApiError::invalid(
                "file_missing",
                "the form has no field \"file\"",
            ));
        }
        upload.options.name = Some(upload.name.clone());
        Ok(upload)
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), ApiError> {
        short(name, value, FIELD_LEN)?;
        let bad = |message: String| ApiError::invalid("field_value", message);
        match name {
            "format" => {
                self.options.format = Some(Format::named(value).ok_or_else(|| {
                    let known = Format::ALL.map(Format::name).join(", ");
                    bad(format!("format is one of {known}"))
                })?);
            }
            "source" => {
                text(name, value, FIELD_LEN)?;
                self.app = Some(value.to_owned());
            }
            "me" => self.options.me = Some(value.to_owned()),
            "utc_offset_minutes" => {
                self.options.offset = value
                    .parse()
                    .ok()
                    .and_then(Offset::from_minutes)
                    .ok_or_else(|| bad("utc_offset_minutes is from -1080 to 1080".to_owned()))?;
            }
            "date_order" => {
                self.options.date_order = Some(match value {
                    "day-first" => DateOrder::DayFirst,
                    "month-first" => DateOrder::MonthFirst,
                    _ => return Err(bad("date_order is day-first or month-first".to_owned())),
                });
            }
            other => return Err(bad(format!("{other:?} is no field of this form"))),
        }
        Ok(())
    }

    /// Tells the format, so that a file that nothing reads is refused at once, and begins the import.
    pub(crate) async fn begin(
        mut self,
        gateway: &Gateway,
        caller: &Caller,
        only_chats: bool,
    ) -> Result<Answer<JobStatus>, ApiError> {
        let files = gateway.state.config.files.clone();
        // With its place, which it keeps if nobody waits any more.
        let told = tokio::task::spawn_blocking(move || {
            let format = match self.options.format {
                Some(format) => Ok(format),
                None => files.detect(&self.bytes, &self.options),
            };
            (self, format)
        })
        .await
        .map_err(|error| ApiError::internal(format!("detect a file's format: {error}")))?;
        let format;
        (self, format) = told;
        let format =
            format.map_err(|error| ApiError::invalid("file_unreadable", error.to_string()))?;
        if only_chats && !format.is_chat() {
            return Err(ApiError::invalid(
                "not_a_chat",
                format!("the file is {format}; /v1/integrations/files takes documents"),
            ));
        }
        self.options.format = Some(format);
        let status = gateway.import(
            self.place,
            &caller.id,
            self.app,
            self.name,
            self.bytes,
            self.options,
        )?;
        Ok(Answer(StatusCode::ACCEPTED, status))
    }
}

fn broken(error: MultipartError) -> ApiError {
    let code = match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        _ => "bad_multipart",
    };
    ApiError::new(error.status(), code, error.body_text())
}

pub(crate) async fn import_file(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Answer<JobStatus>, ApiError> {
    Upload::read(request, &gateway)
        .await?
        .begin(&gateway, &caller, false)
        .await
}

pub(crate) async fn status(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Answer<JobStatus>, ApiError> {
    match gateway.state.jobs.status(&id, &caller.id) {
        Some(status) => Ok(Answer(StatusCode::OK, status)),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "import_not_found",
            "no import of this key has this id; the server may have been started again since",
        )),
    }
}
