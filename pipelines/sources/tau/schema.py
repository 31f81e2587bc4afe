"""What tau2-bench writes: only the fields that feed something."""

from typing import Annotated, Any

import msgspec

from .conversation import Call, Message


class Action(msgspec.Struct):
    """One call that a task expects."""

    name: str
    requestor: str = "assistant"


class Criteria(msgspec.Struct):
    """What the agent is measured by."""

    actions: list[Action] | None = None


class UserScenario(msgspec.Struct):
    """What the customer is told."""

    instructions: Any = None


class Task(msgspec.Struct):
    """One task."""

    id: str | int
    user_scenario: UserScenario = msgspec.field(default_factory=UserScenario)
    evaluation_criteria: msgspec.Raw = msgspec.Raw()


class Party(msgspec.Struct):
    """Agent or customer."""

    llm: str | None = None


class Environment(msgspec.Struct):
    """The shop, airline … that is played."""

    domain_name: str = "unknown"


class Info(msgspec.Struct):
    """Settings of the run."""

    agent_info: Party
    environment_info: Environment
    num_trials: int = 1


class Results(msgspec.Struct):
    """The run's file; its parts are decoded one by one."""

    info: msgspec.Raw
    tasks: msgspec.Raw = msgspec.Raw(b"[]")
    timestamp: str | None = None
    simulations: msgspec.Raw = msgspec.Raw(b"[]")


class RewardInfo(msgspec.Struct):
    """The verdict."""

    reward: float | None = None
    reward_breakdown: dict[str, float] | None = None


class Tick(msgspec.Struct):
    """One moment of a conversation by voice, in which everybody may act."""

    timestamp: str | None = None
    agent_chunk: Message | None = None
    user_chunk: Message | None = None
    agent_tool_calls: list[Call] = []
    agent_tool_results: list[Message] = []
    user_tool_calls: list[Call] = []
    user_tool_results: list[Message] = []


class UsageRecord(msgspec.Struct):
    """Usage of one model, as its provider reports it."""

    input_tokens: int | None = None
    input_cached_tokens: int | None = None
    output_tokens: int | None = None
    billable: bool = True


class AgentUsage(msgspec.Struct):
    """Usage of an agent by voice."""

    records: list[UsageRecord] = []
    cost: float | None = None


class SimulationRun(msgspec.Struct):
    """One conversation."""

    id: str
    task_id: str | int
    termination_reason: str
    timestamp: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    duration: float | None = None
    """Seconds."""
    trial: Annotated[int, msgspec.Meta(ge=0)] | None = None
    seed: int | None = None
    mode: str | None = None
    agent_cost: float | None = None
    user_cost: float | None = None
    agent_usage: AgentUsage | None = None
    reward_info: RewardInfo | None = None
    messages: list[Message] | None = None
    ticks: list[Tick] | None = None
    info: dict[str, Any] | None = None
    hallucination_retries_used: int = 0
