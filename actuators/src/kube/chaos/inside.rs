//! The experiments of Chaos Mesh that work inside a pod: files, clocks, names, HTTP, kernel, Java, block devices.
//!
//! As [`super::data`]: the definitions' names, nothing unknown. An editor breaks this by adding a field that the definitions do not have.

use super::data::{Mode, Selector, data, experiment, words};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

words! {
    /// What happens to file operations.
    IoAction {
        /// late
        Latency = "latency",
        /// an error
        Fault = "fault",
        /// other attributes are shown
        AttrOverride = "attrOverride",
        /// wrong bytes
        Mistake = "mistake",
    }
}
words! {
    /// Wrong bytes.
    Filling {
        /// zeros
        Zero = "zero",
        /// anything
        Random = "random",
    }
}
experiment! {
    /// File operations suffer.
    IoChaos {
        /// What happens to them.
        action: IoAction,
        /// Where the volume is mounted in the container.
        volume_path: String,
        ;
        /// Which files, as a pattern.
        path: String,
        /// Which operations: `read`, `write` …
        methods: Vec<String>,
        /// How many per cent of them; 100 if not given.
        percent: i64,
        /// For `latency`.
        delay: String,
        /// For `fault`: the error's number.
        errno: i64,
        /// For `attrOverride`.
        attr: Attributes,
        /// For `mistake`.
        mistake: Mistake,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}
data! {
    /// Attributes that are shown instead of the true ones.
    Attributes {
        ;
        /// Inode.
        ino: i64,
        /// Bytes.
        size: i64,
        /// Blocks.
        blocks: i64,
        /// Last read.
        atime: FileTime,
        /// Last written.
        mtime: FileTime,
        /// Last changed.
        ctime: FileTime,
        /// Kind of file.
        kind: String,
        /// Mode bits.
        perm: i64,
        /// Links.
        nlink: i64,
        /// Owner.
        uid: i64,
        /// Group.
        gid: i64,
        /// Device.
        rdev: i64,
    }
}
data! {
    /// A moment of a file.
    FileTime {
        /// Seconds since the epoch.
        sec: i64,
        /// Nanoseconds more.
        nsec: i64,
        ;
    }
}
data! {
    /// Wrong bytes.
    Mistake {
        ;
        /// Which.
        filling: Filling,
        /// How many in a row at most.
        max_length: i64,
        /// How often in one operation at most.
        max_occurrences: i64,
    }
}

experiment! {
    /// The clock is wrong.
    TimeChaos {
        /// By how much: `-10m100ns`.
        time_offset: String,
        ;
        /// Which clocks; `CLOCK_REALTIME` if not given.
        clock_ids: Vec<String>,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}

words! {
    /// What names resolve to.
    DnsAction {
        /// an error
        Error = "error",
        /// any address
        Random = "random",
    }
}
experiment! {
    /// Names do not resolve; needs Chaos Mesh's DNS server.
    DnsChaos {
        /// What they resolve to.
        action: DnsAction,
        ;
        /// Which names; `*` at the end only, `?` anywhere. All if not given.
        patterns: Vec<String>,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}

words! {
    /// Which half of an exchange.
    HttpTarget {
        /// the request
        Request = "Request",
        /// the response
        Response = "Response",
    }
}
experiment! {
    /// HTTP exchanges suffer.
    HttpChaos {
        /// Which half.
        target: HttpTarget,
        ;
        /// The pods' port.
        port: i64,
        /// Which paths, as a pattern.
        path: String,
        /// Which method.
        method: String,
        /// Which answers' status.
        code: i64,
        /// Which requests' headers.
        #[serde(rename = "request_headers")]
        request_headers: BTreeMap<String, String>,
        /// Which responses' headers.
        #[serde(rename = "response_headers")]
        response_headers: BTreeMap<String, String>,
        /// The connection breaks.
        abort: bool,
        /// How late: `10s`.
        delay: String,
        /// What is put in the place of what was there.
        replace: HttpReplace,
        /// What is added.
        patch: HttpPatch,
        /// The secret with the certificate, for TLS.
        tls: HttpTls,
    }
}
data! {
    /// What is put in the place of what was there.
    HttpReplace {
        ;
        /// The body, in base 64.
        body: String,
        /// The status.
        code: i64,
        /// Headers.
        headers: BTreeMap<String, String>,
        /// The method.
        method: String,
        /// The path.
        path: String,
        /// The query.
        queries: BTreeMap<String, String>,
    }
}
data! {
    /// What is added.
    HttpPatch {
        ;
        /// To the body.
        body: HttpPatchBody,
        /// Headers, as pairs.
        headers: Vec<Vec<String>>,
        /// Query, as pairs.
        queries: Vec<Vec<String>>,
    }
}
data! {
    /// What is merged into the body.
    HttpPatchBody {
        /// `JSON`.
        #[serde(rename = "type")]
        form: String,
        /// The text.
        value: String,
        ;
    }
}
data! {
    /// Where the certificate is.
    HttpTls {
        /// The secret's name.
        secret_name: String,
        /// The secret's namespace.
        secret_namespace: String,
        /// The certificate's key in it.
        cert_name: String,
        /// The private key's key in it.
        key_name: String,
        ;
        /// The authority's key in it.
        ca_name: String,
    }
}
experiment! {
    /// Kernel calls fail.
    KernelChaos {
        /// Which, and how.
        fail_kern_request: FailKernRequest,
        ;
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}
data! {
    /// Which calls fail, and how.
    FailKernRequest {
        /// 0: slab allocation, 1: page allocation, 2: block IO.
        failtype: i64,
        ;
        /// Kernel headers.
        headers: Vec<String>,
        /// The chain of calls.
        callchain: Vec<KernelFrame>,
        /// Per cent.
        probability: i64,
        /// How often at most.
        times: i64,
    }
}
data! {
    /// One kernel function.
    KernelFrame {
        ;
        /// Its name.
        funcname: String,
        /// Its parameters.
        parameters: String,
        /// A condition on them.
        predicate: String,
    }
}

words! {
    /// What happens in the virtual machine.
    JvmAction {
        /// a method is late
        Latency = "latency",
        /// a method returns something else
        Return = "return",
        /// a method throws
        Exception = "exception",
        /// processor or memory is busy
        Stress = "stress",
        /// a collection
        Gc = "gc",
        /// a Byteman rule
        RuleData = "ruleData",
        /// MySQL calls suffer
        Mysql = "mysql",
    }
}
experiment! {
    /// A Java virtual machine suffers.
    JvmChaos {
        /// What happens in it.
        action: JvmAction,
        ;
        /// The class.
        class: String,
        /// The method.
        method: String,
        /// Milliseconds.
        latency: i64,
        /// What is returned.
        return_value: String,
        /// What is thrown.
        exception: String,
        /// The agent's port.
        port: i64,
        /// The process.
        pid: i64,
        /// Busy processors.
        cpu_count: i64,
        /// `stack` or `heap`.
        mem_type: String,
        /// The rule's name.
        name: String,
        /// The Byteman rule.
        rule_data: String,
        /// `5` or `8`.
        mysql_connector_version: String,
        /// Which database.
        database: String,
        /// Which table.
        table: String,
        /// `select`, `update` …
        sql_type: String,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}

words! {
    /// What happens to a block device.
    BlockAction {
        /// late
        Delay = "delay",
    }
}
experiment! {
    /// A block device suffers.
    BlockChaos {
        /// What happens to it.
        action: BlockAction,
        /// The pod's volume.
        volume_name: String,
        ;
        /// How late.
        delay: BlockDelay,
        /// Containers; the first if not given.
        container_names: Vec<String>,
    }
}
data! {
    /// Late block operations.
    BlockDelay {
        ;
        /// How late: `10ms`.
        latency: String,
        /// More or less.
        jitter: String,
        /// Per cent, as text.
        correlation: String,
    }
}
