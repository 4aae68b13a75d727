/** What a job has come to, after each message of the service's. */
export const ENDS = new Set(["completed", "failed", "cancelled"]);
export const goes = (job) => !ENDS.has(job.status);

/** Whether it is a favourite, or one of its pictures is: of these it is said alone that they are kept without an end. */
export const isFavourite = (job) => Boolean(job.favourite || (job.result && job.expires_at === null) || job.children?.some(isFavourite));

/** Places in the queue and the time that is left are in no message. */
export const estimates = ({ queue_position, estimated_time_remaining, status }) => ({ queue_position, estimated_time_remaining, status });

/** The job after a message. */
export function after(job, message) {
  switch (message.type) {
    case "snapshot":
    case "completed":
      return joined(job, message.data);
    case "status":
      return job && { ...job, status: message.status, progress: message.progress, queue_position: null };
    case "analysis":
    case "step":
    case "preview":
      // An event from before the snapshot must not turn the bar back.
      return job && { ...job, progress: Math.max(job.progress, message.progress) };
    case "failed":
      return job && { ...job, status: "failed", error: message.error };
    case "cancelled":
      return job && { ...job, status: "cancelled" };
    case "child":
      return job && { ...withChild(job, message.place, (child) => after(child, message.event)), progress: Math.max(job.progress, message.progress) };
    default:
      return job;
  }
}

/** The job with a child that is changed; one that has ended stays as it is, whatever comes from before its end. */
const withChild = (job, place, change) => ({
  ...job,
  children: job.children?.map((child, at) => (at === place && goes(child) ? change(child) : child)),
});

/** The job with news of it. What is known of a child alone, such as whether it is a favourite, stays. */
export function joined(job, news) {
  const children = news.children?.map((child, place) => ({ ...job?.children?.[place], ...child }));
  return { ...job, ...news, ...(children && { children }) };
}
