-- A score outside the scale it names is kept as it was given: its row is more than the score, and normalised it is NULL.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- What the new constraints ask is less than what the old ones did.
-- squawk-ignore ban-drop-constraint
alter table raw.simulations drop constraint if exists overall_score_is_on_its_scale;
-- squawk-ignore ban-drop-constraint
alter table raw.simulations drop constraint if exists overall_score_is_a_number;
alter table raw.simulations add constraint overall_score_is_a_number
check (overall_score_raw > '-Infinity' and overall_score_raw < 'Infinity') not valid;

-- squawk-ignore ban-drop-constraint
alter table raw.outcomes drop constraint if exists outcome_score_is_on_its_scale;
-- squawk-ignore ban-drop-constraint
alter table raw.outcomes drop constraint if exists outcome_score_is_a_number;
alter table raw.outcomes add constraint outcome_score_is_a_number
check (score_raw > '-Infinity' and score_raw < 'Infinity') not valid;

comment on column raw.simulations.overall_score is 'The score on 0..1; NULL without one, without bounds or outside them.';
comment on column raw.outcomes.reliability_score is 'The score on 0..1; NULL without one, without bounds or outside them.';

reset role;
