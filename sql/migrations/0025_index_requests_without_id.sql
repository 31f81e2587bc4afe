-- A response first seen without its request's id keeps a key without it, also when another log has brought the id since:
-- it is looked up by its message whether or not the id is known by now.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- An index of a partitioned table can be neither dropped nor made concurrently.
-- squawk-ignore require-concurrent-index-deletion
drop index if exists raw.model_requests_without_request_id;
-- squawk-ignore require-concurrent-index-creation
create index if not exists model_requests_by_message on raw.model_requests (project_id, message_id)
where request_key = message_id || ':';

reset role;
