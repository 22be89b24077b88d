"""Goals and custom properties: what a person may write, and what follows from it.

Source: reference 12.2 (currencies), 12.3 (list of properties), 12.4 (goals that a setting makes), 17.2.
"""

from collections.abc import Sequence
from typing import Final

from service.errors import SiteInvalid
from service.ingestion.money import CURRENCIES
from service.sites.records import Goal, GoalType, NewGoal, TrackerScriptConfiguration
from service.sites.text import check_text

MAX_CUSTOM_PROPERTIES: Final = 300
MAX_PROPERTY_CHARS: Final = 300
MAX_EVENT_NAME_CHARS: Final = 120
MAX_PAGE_PATH_CHARS: Final = 2000
MAX_DISPLAY_NAME_CHARS: Final = 2000
MAX_PROPERTY_VALUE_CHARS: Final = 2000

_GOALS_OF_SETTINGS: Final = {
    "outbound_links": "Outbound Link: Click",
    "file_downloads": "File Download",
    "form_submissions": "Form: Submission",
}


def check_goal(new: NewGoal) -> Goal:
    """Give the goal as it will be kept, without a number yet. Raises SiteInvalid."""
    event_name = (new.event_name or "").strip()
    page_path = (new.page_path or "").strip()
    if new.goal_type is GoalType.EVENT:
        check_text("event_name", event_name, max_chars=MAX_EVENT_NAME_CHARS)
    else:
        check_text("page_path", page_path, max_chars=MAX_PAGE_PATH_CHARS)
        if not page_path.startswith("/"):
            raise SiteInvalid("page_path", "must start with /")
        if new.currency is not None:
            raise SiteInvalid("currency", "only an event goal can have a currency")
    if new.currency is not None and new.currency not in CURRENCIES:
        raise SiteInvalid("currency", "is invalid")
    for name, value in new.custom_props.items():
        check_text("custom_props", name, max_chars=MAX_PROPERTY_CHARS)
        check_text("custom_props", value, max_chars=MAX_PROPERTY_VALUE_CHARS)
    display_name = (new.display_name or "").strip()
    if not display_name:
        display_name = event_name if new.goal_type is GoalType.EVENT else f"Visit {page_path}"
    return Goal(
        id=0,
        display_name=check_text("display_name", display_name, max_chars=MAX_DISPLAY_NAME_CHARS),
        goal_type=new.goal_type,
        event_name=event_name if new.goal_type is GoalType.EVENT else None,
        page_path=page_path if new.goal_type is GoalType.PAGE else None,
        custom_props=new.custom_props,
        currency=new.currency,
    )


def find_goal(goal: Goal, existing: Sequence[Goal]) -> Goal | None:
    """Give the existing goal that is meant, or None when ``goal`` is a new one.

    Raises SiteInvalid when they contradict each other: an event name has one currency, which never changes.
    """
    for other in existing:
        if goal.event_name is not None and goal.event_name == other.event_name:
            _check_currency(goal, other)
        same = (goal.event_name, goal.page_path) == (other.event_name, other.page_path)
        if same and goal.custom_props == other.custom_props:
            if goal.currency is not None and other.currency is None:
                raise SiteInvalid("currency", "cannot change currency of existing goal")
            return other
    if any(goal.display_name == other.display_name for other in existing):
        raise SiteInvalid("display_name", "has already been taken")
    return None


def goals_of_settings(tracker: TrackerScriptConfiguration, existing: Sequence[Goal]) -> list[Goal]:
    """Give the goals that the tracker's settings ask for and that are not there yet."""
    taken = {name for goal in existing for name in (goal.event_name, goal.display_name)}
    return [
        Goal(id=0, display_name=name, goal_type=GoalType.EVENT, event_name=name)
        for setting, name in _GOALS_OF_SETTINGS.items()
        if getattr(tracker, setting) and name not in taken
    ]


def add_property(name: str, existing: tuple[str, ...]) -> tuple[str, ...]:
    """Give the list with the property in it. Raises SiteInvalid."""
    name = check_text("property", name.strip(), max_chars=MAX_PROPERTY_CHARS)
    if name in existing:
        return existing
    if len(existing) >= MAX_CUSTOM_PROPERTIES:
        raise SiteInvalid("property", f"at most {MAX_CUSTOM_PROPERTIES} are allowed")
    return (*existing, name)


def _check_currency(goal: Goal, other: Goal) -> None:
    if None not in (goal.currency, other.currency) and goal.currency != other.currency:
        raise SiteInvalid(
            "event_name", f"'{other.event_name}' (with currency: {other.currency}) has already been taken"
        )
