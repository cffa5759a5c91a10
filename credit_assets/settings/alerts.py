"""The `alerts:` section of a portfolio: who receives alerts, through which channels, how much and how often."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["info", "warning", "error"]


SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error")


Address = Annotated[str, Field(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")]


class ChannelConfig(BaseModel):
    """A channel, and the lowest severity that it receives. Its address is a variable of the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least: Severity = Field(default="info", description="the lowest severity that the channel receives")


class EmailConfig(ChannelConfig):
    """E-mail through the server in CREDIT_ASSETS_SMTP_URL."""

    to: list[Address] = Field(min_length=1, description="who receives the alerts")
    sender: Address = Field(description="the address that they come from")


class AlertsConfig(BaseModel):
    """Who receives what. Without a channel nothing is sent; alerts are stored and listed anyway."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: EmailConfig | None = Field(default=None, description="through the server in CREDIT_ASSETS_SMTP_URL")
    slack: ChannelConfig | None = Field(default=None, description="to the address in CREDIT_ASSETS_SLACK_URL")
    webhook: ChannelConfig | None = Field(
        default=None, description="as JSON to CREDIT_ASSETS_WEBHOOK_URL, with the token in CREDIT_ASSETS_WEBHOOK_TOKEN"
    )
    ui: str = Field(
        default="http://localhost:3000",
        pattern=r"^https?://\S+[^/\s]$",
        description="address of Dagster's UI, for the links in alerts",
    )
    per_hour: int = Field(default=30, ge=1, description="messages per channel; further alerts are combined")
    remind_after_hours: float = Field(default=24, gt=0, description="hours until a problem is reported again")
    late_after_days: float | None = Field(default=None, gt=0, description="days without a delivery; None: never late")
    unread_after_hours: float = Field(
        default=24, gt=0, description="hours that a delivery may stay unread in the inbox"
    )
    disk_free_gb: float = Field(default=5, ge=0, description="free space that the data folder's disk needs")
    memory_free_share: float = Field(default=0.05, ge=0, le=1, description="share of memory that new work needs")
    backlog_runs: int = Field(default=50, ge=1, description="runs of the portfolio waiting in the queue")
    lasting_minutes: float = Field(
        default=5, ge=0, description="minutes that a full machine or failing ticks must last before they are reported"
    )

    @property
    def channels(self) -> dict[str, ChannelConfig]:
        """The configured channels by name."""
        found = {"email": self.email, "slack": self.slack, "webhook": self.webhook}
        return {name: channel for name, channel in found.items() if channel is not None}
