select p.content_hash, min(p.content), array_agg(distinct p.project_id) filter (where e.content_hash is null)
from pending_subjects as p
left join raw.embeddings as e
    on p.project_id = e.project_id and p.content_hash = e.content_hash and e.model = %(model)s
where p.content_hash > %(after)s
group by p.content_hash
order by p.content_hash
limit %(limit)s
